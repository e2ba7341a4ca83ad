"""``compiled_paths.py BACKEND NAME...``: compiled whole, models answer and learn as in float64; prints who passed."""

import os
import sys
from functools import partial

import torch
from ways import AUTOCAST, Way, build, compare


def compare_compiled(name, backend):
    """Compiled models with the equations, in the three ways in which they are used."""
    compiled = partial(torch.compile, fullgraph=True, backend=backend)
    without_autograd = "eager" if backend == "aot_eager" else backend  # half the work, where no gradient is asked for
    traced = partial(torch.compile, fullgraph=True, backend=without_autograd)
    float64 = {"dtype": torch.float64, "tolerance": 1e-7}  # Fourier features are float32
    for way in (
        Way(prepare=compiled, **float64),
        Way(prepare=lambda model: traced(model.fold()), gradients_of="nothing", **float64),
        Way(prepare=traced, gradients_of="nothing", **AUTOCAST),
    ):
        torch.compiler.reset()
        compare(build(name, depth=1).to(way.dtype), way, [(3, 24, 12)] * 2, name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(int(os.environ["SEED"]))
    torch.use_deterministic_algorithms(True)
    torch.amp.is_autocast_available = torch._dynamo.disable(torch.amp.is_autocast_available)  # as in PyTorch 2.11
    backend, *names = sys.argv[1:]
    for name in names:
        compare_compiled(name, backend)
        print(name)
