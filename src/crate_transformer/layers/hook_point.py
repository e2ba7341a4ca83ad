"""Hook points: named places of a forward pass at which hooks observe or replace a tensor."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class HookPoint(nn.Module):
    """An identity with a name, at which ``record`` and ``intervene`` register their hooks."""

    explicit = False
    """Whether its tensor is computed even without a hook."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def has_hooks(self) -> bool:
        """Whether a hook is registered; if so, or if ``explicit``, a layer computes what a fused kernel otherwise
        hides."""
        return self.explicit or len(self._forward_hooks) > 0


@contextmanager
def capture(hook_points: Iterable[HookPoint]) -> Iterator[list[Tensor]]:
    """Collect the tensors at the hook points inside the ``with`` block, in order of execution, with gradients."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> None:
        seen.append(output)

    handles = [point.register_forward_hook(keep) for point in hook_points]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
