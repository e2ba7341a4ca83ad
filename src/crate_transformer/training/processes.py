"""The processes that share a run: started by ``torchrun``, by ``accelerate launch``, or just this one."""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, reduce
from torch import Tensor

T = TypeVar("T")


class Processes:
    """``rank`` of ``world_size`` processes, and what they do together; all of them must do it.

    Raises:
        ValueError: there are more processes than GPUs on this machine.
        OSError: the processes do not find each other.
    """

    def __init__(self) -> None:
        self._state = _meet()
        self.rank, self.world_size = self._state.process_index, self._state.num_processes
        self.is_main = self.rank == 0
        self.device = self._state.device

    def on_main(self, work: Callable[[], T]) -> T:
        """What ``work`` returns in the main process; where it fails, all processes fail with the same error."""
        answer: list = [None, None]
        if self.is_main:
            try:
                answer[0] = work()
            except (ValueError, OSError) as error:
                answer[1] = error
        if self.world_size > 1:
            broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order of rank."""
        return gather_object([value]) if self.world_size > 1 else [value]

    def mean(self, numbers: Tensor) -> Tensor:
        """The mean over all processes, element by element."""
        return reduce(numbers, "mean")

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()


def _meet() -> PartialState:
    """Join the other processes, which the environment tells of; without an accelerator they exchange by gloo."""
    count, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    on_cpu = accelerator is None or (count > 1 and accelerator.type == "mps")  # which gloo does not know
    if not on_cpu and local >= torch.accelerator.device_count():
        raise ValueError(
            f"process {local} of this machine finds {torch.accelerator.device_count()} GPUs: start one process for each"
        )
    alone = not torch.distributed.is_initialized()
    try:
        state = PartialState(cpu=on_cpu)
    except RuntimeError as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        reason = str(error).partition("\n")[0]
        if "EADDRINUSE" in reason:
            reason = "something else uses this port, choose another --master-port"
        raise OSError(f"the {count} processes of this run do not meet at {place}: {reason}") from error
    if alone and torch.distributed.is_initialized():
        atexit.register(torch.distributed.destroy_process_group)
    return state


@contextmanager
def told_if_others_end() -> Iterator[None]:
    """``OSError`` in place of what PyTorch raises where another process of the run has ended."""
    try:
        yield
    except RuntimeError as error:
        lost = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "NCCL")
        if not torch.distributed.is_initialized() or not any(sign in str(error) for sign in lost):
            raise
        raise OSError(
            "another process of this run has ended or does not answer: look for its message, then start all of them "
            "again, and the run goes on from its last state"
        ) from error
