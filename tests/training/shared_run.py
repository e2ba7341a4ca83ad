"""Runs of ``fit`` in one or more processes, forked from one that has imported everything: they begin at once."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crate_transformer.cli.ending import exit_code
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.recipes import ready, run
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.tasks import open_data
from crate_transformer.training.processes import Processes

FORKS = multiprocessing.get_context("forkserver")
OURS = ("recipes.run", "cli.ending", "reports.style")
FORKS.set_forkserver_preload([*(f"crate_transformer.{name}" for name in OURS), "torch._dynamo"])


def make_pictures(folder: Path, training: int = 22) -> Path:
    """Pictures of 16 x 16 pixels in two classes, those of class a darker, and half as many held out."""
    random = np.random.default_rng(0)
    for part, count in (("train", training // 2), ("val", training // 4)):
        for name, lightest in (("a", 156), ("b", 256)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, lightest, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every process of a run is given; ``data`` may hold ``{rank}``.

    Before process ``victim`` makes the first batch of step ``signal_at``, it sends itself ``number``.
    """

    experiment: Experiment
    execution: ExecutionConfig
    data: Path
    folder: Path
    signal_at: int | None = None
    number: int = signal.SIGINT
    victim: int = 0

    def __call__(self, rank: int) -> None:
        split = open_data(self.experiment.task, Path(str(self.data).format(rank=rank)))
        loader, run.Processes = ready.train_loader, _meet

        def logged_loader(*arguments, start_step, **options):
            batches = iter(loader(*arguments, start_step=start_step, **options))
            for step in range(start_step, self.experiment.schedule.steps):
                if step == self.signal_at and rank == self.victim:
                    os.kill(os.getpid(), self.number)
                for _ in range(self.execution.accumulate):
                    batch = next(batches)
                    print("".join(f"at {step} {position}\n" for position in batch["positions"].tolist()), end="")
                    yield batch

        ready.train_loader = logged_loader
        run.fit(self.experiment, split, self.folder, data_name="pictures", execution=self.execution, show=False)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative for a signal), and what it printed on both streams."""

    code: int
    text: str

    @property
    def positions(self) -> list[tuple[int, int]]:
        """(step, position) of each picture that it saw."""
        lines = [line.split() for line in self.text.splitlines() if line.startswith("at ")]
        return [(int(step), int(position)) for _, step, position in lines]

    @property
    def said(self) -> str:
        """What it printed besides."""
        return "\n".join(line for line in self.text.splitlines() if not line.startswith(("at ", "met")))


class Started:
    """``count`` processes of a job; ``wait`` gives how each of them ended."""

    def __init__(self, job: Callable[[int], None], count: int = 1, *, port: int = 0):
        self.port = port or _free_port()
        self.outputs = [job.folder.with_name(f"{job.folder.name}-{rank}.txt") for rank in range(count)]
        self.processes = [
            FORKS.Process(target=_process, args=(job, rank, count, self.port, output))
            for rank, output in enumerate(self.outputs)
        ]
        for output, process in zip(self.outputs, self.processes, strict=True):
            output.write_text("")
            process.start()

    def kill(self, rank: int) -> None:
        """As a system without memory does; where the processes have not met yet, the others too, as torchrun does."""
        self.processes[rank].kill()
        time.sleep(0.2)
        if any("met" not in output.read_text() for output in self.outputs):
            for process in self.processes:
                process.kill()

    def wait(self, seconds: float = 100) -> list[Ended]:
        """Every process must end within these seconds."""
        deadline, ended = time.monotonic() + seconds, []
        for process, output in zip(self.processes, self.outputs, strict=True):
            process.join(max(0.0, deadline - time.monotonic()))
            if hangs := process.is_alive():
                process.kill()
                process.join()
            text = output.read_text()
            assert not hangs, f"does not end: {text}"
            ended.append(Ended(process.exitcode, text))
            process.close()
        return ended


def train_with(count: int, job: Job) -> list[Ended]:
    """Run a job in so many processes to its end."""
    return Started(job, count).wait()


def _meet() -> Processes:
    processes = Processes()
    print("met", flush=True)
    return processes


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _process(job: Callable[[int], None], rank: int, count: int, port: int, output: Path) -> None:
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(target, stream)
    multiprocessing.set_start_method(None, force=True)  # workers start as they do where no server forks
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if count > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
    warnings.simplefilter("error")
    code = exit_code(lambda: job(rank))
    if torch.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()
    sys.exit(code)
