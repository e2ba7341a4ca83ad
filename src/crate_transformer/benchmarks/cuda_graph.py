"""A run as one CUDA graph, so that the CPU launches it with a single call."""

from collections.abc import Callable

import torch

WARM_UP = 3


def capture(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A function that repeats the work of ``run`` on the same tensors at every call.

    Before the capture, ``run`` is called on a separate stream so that libraries choose their kernels.
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
