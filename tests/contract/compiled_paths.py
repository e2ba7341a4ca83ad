"""``compiled_paths.py BACKEND NAME...``: compiled models against float64; prints who passed.

With ``aot_eager`` folded models answer (tests/contract/test_compile.py trains plain ones); other backends train too.
"""

import os
import sys
from functools import partial

import torch
from ways import Way, build, compare

torch.set_num_threads(1)
torch.manual_seed(int(os.environ["SEED"]))
torch.use_deterministic_algorithms(True)
backend, *names = sys.argv[1:]
compiled = partial(torch.compile, fullgraph=True, backend=backend)
float64 = {"dtype": torch.float64, "tolerance": 1e-7}  # Fourier positions have waves in float32
ways = [Way(prepare=lambda model: compiled(model.fold()), gradients_of="nothing", **float64)]
if backend != "aot_eager":
    ways.append(Way(prepare=compiled, **float64))
for name in names:
    for way in ways:
        torch.compiler.reset()
        compare(build(name).double(), way, [(3, 24, 12)] * 2, name)
    print(name)
