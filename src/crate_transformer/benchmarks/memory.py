"""``python -m crate_transformer.benchmarks.memory``: the peak memory of one contender, printed in megabytes."""

import argparse
import re
import resource
import sys
from pathlib import Path

import torch

from crate_transformer.benchmarks.contenders import prepare, random_images, task_runner


def main() -> None:
    """Build, run twice, print what the runs needed on top."""
    parser = argparse.ArgumentParser()
    for name in ("task", "contender", "model", "batch", "precision", "device", "threads"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    torch.set_num_threads(int(given.threads))
    device = torch.device(given.device)
    model = prepare(given.contender, given.task, given.model, precision=given.precision, device=device)
    images = random_images(given.model, int(given.batch), device)
    run = task_runner(given.task, model, images, precision=given.precision)
    before = _reset(device)
    for _ in range(2):
        run()
    sys.stdout.write(f"{(_peak(device) - before) / 1e6:.1f}\n")


def _reset(device: torch.device) -> int:
    """Bytes in use now, from which the peak is counted anew where the system allows that."""
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
    if status.is_file():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
