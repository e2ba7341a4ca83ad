"""One process of a run that torchrun starts: ``one_process.py FOLDER``; saves the weights that it ends with.

Where FOLDER holds a file ``stop``, the last process interrupts itself before its fourth batch.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from small_problem import Runner

warnings.simplefilter("error")
folder = Path(sys.argv[1])
rank, last = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)) - 1


def before(step: int) -> None:
    if step == 4 and rank == last and (folder / "stop").exists():
        os.kill(os.getpid(), signal.SIGINT)


def say(what: str) -> None:
    """A line in one write, which those of another process do not fall into."""
    sys.stdout.write(f"rank {rank} {what}\n")
    sys.stdout.flush()


run = Runner()
try:
    result = run(folder / "run", before=before, augment=False, precision="float32", checkpoint_every=6)
    say(f"resumed at {result.resumed_at}, loss {result.loss:.6f}")
    torch.save(run.weights(), folder / f"weights-{rank}.pt")
except KeyboardInterrupt:
    say("interrupted")
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
