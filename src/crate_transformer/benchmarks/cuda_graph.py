"""A run as one CUDA graph, so that the processor launches it with a single call."""

from collections.abc import Callable

import torch

WARM_UP = 3


def capture(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """What does on every call the work that ``run`` does, on the same tensors.

    Libraries must have chosen their kernels before the capture, and outside the stream that other work uses.
    """
    with torch.cuda.device(device):
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    return graph.replay
