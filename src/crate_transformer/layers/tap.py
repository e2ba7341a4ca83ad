"""Named points of observation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class Tap(nn.Module):
    """Return the input; its only purpose is to have a name that ``inspection.record`` can listen at."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def listening(self) -> bool:
        """Whether somebody records here, so that a layer must really compute what it usually fuses away."""
        return len(self._forward_hooks) > 0


@contextmanager
def hear(taps: Iterable[Tap]) -> Iterator[list[Tensor]]:
    """Collect what passes the taps inside the ``with`` block, in the order of running, with gradients."""
    seen: list[Tensor] = []
    handles = [tap.register_forward_hook(lambda module, args, output: seen.append(output)) for tap in taps]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
