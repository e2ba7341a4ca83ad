"""The processes that share a run: started by ``torchrun``, by ``accelerate launch``, or just this one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, distributed

from crate_transformer.training.meeting import meet

T = TypeVar("T")


class Processes:
    """``rank`` of ``world_size`` processes, and what they do together; all of them must do it.

    Raises:
        ValueError: there are more processes than GPUs on this machine.
        OSError: the processes do not find each other.
    """

    def __init__(self) -> None:
        self._state = meet()
        self.rank, self.world_size = self._state.process_index, self._state.num_processes
        self.is_main = self.rank == 0
        self.device: torch.device = self._state.device  # pyright: ignore[reportAttributeAccessIssue] -- never None

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
        total = numbers.clone()
        if self.world_size > 1:
            distributed.all_reduce(total)
        return total / self.world_size

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()


@contextmanager
def told_if_others_end() -> Iterator[None]:
    """``OSError`` in place of what PyTorch raises where another process of the run has ended."""
    try:
        yield
    except RuntimeError as error:
        lost = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "NCCL")
        if not distributed.is_initialized() or not any(sign in str(error) for sign in lost):
            raise
        raise OSError(
            "another process of this run has ended or does not answer: look for its message, then start all of them "
            "again, and the run goes on from its last state"
        ) from error
