"""Named points of observation."""

from torch import Tensor, nn


class Tap(nn.Module):
    """Return the input; its only purpose is to have a name that ``inspection.record`` can listen at."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def listening(self) -> bool:
        """Whether somebody records here, so that a layer must really compute what it usually fuses away."""
        return len(self._forward_hooks) > 0
