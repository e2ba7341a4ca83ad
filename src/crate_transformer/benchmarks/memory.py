"""``python -m crate_transformer.benchmarks.memory KIND FIELDS``: the peak memory of one case, printed in megabytes."""

import json
import re
import resource
import sys
from pathlib import Path

import torch
from torch import nn

from crate_transformer.benchmarks.cases import Case, LayerCase, ModelCase

KINDS = {kind.__name__: kind for kind in (ModelCase, LayerCase)}


def main(kind: str, fields: str) -> None:
    """Build, warm up without the optimiser, run twice, print the additional memory of the runs."""
    case = KINDS[kind](**json.loads(fields))
    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    module, feed = case.build(), case.feed()
    case.once(module, feed)
    module.zero_grad()
    _first_step(case)
    before = _reset(device)
    run = case.runner(module, case.optimizer(module), feed)
    for _ in range(2):
        run()
    sys.stdout.write(f"{(_peak(device) - before) / 1e6:.1f}\n")


def _first_step(case: Case) -> None:
    """An optimiser step on a tiny parameter: PyTorch's first step imports its compiler, some 75 MB."""
    parameter = nn.Parameter(torch.zeros(1, device=case.device))
    optimizer = case.optimizer(nn.ParameterList([parameter]))
    if optimizer is not None:
        parameter.square().sum().backward()
        optimizer.step()


def _reset(device: torch.device) -> int:
    """Bytes in use now; the peak is reset to this where the system allows that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
