"""A linear map that is applied in both directions."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import frozen_linear


class TiedLinear(nn.Linear):
    r""":math:`W z` and, by ``back``, :math:`W^\top y`, without a bias; each call may add a matrix to :math:`W`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, z: Float[Tensor, "*batch inputs"], change: Float[Tensor, "outputs inputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        return F.linear(z, self.weight if change is None else self.weight + change)

    def back(
        self, y: Float[Tensor, "*batch outputs"], change: Float[Tensor, "outputs inputs"] | None = None
    ) -> Float[Tensor, "*batch inputs"]:
        return F.linear(y, (self.weight if change is None else self.weight + change).T)

    def folded(self, change: Float[Tensor, "outputs inputs"] | None) -> "FoldedTiedLinear":
        """The same maps for inference, free of this layer's parameters."""
        return FoldedTiedLinear(self.weight if change is None else self.weight + change)


class FoldedTiedLinear(nn.Module):
    """``TiedLinear`` as two linear maps."""

    def __init__(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        super().__init__()
        self.there, self.return_map = frozen_linear(weight), frozen_linear(weight.T)

    def forward(self, z: Float[Tensor, "*batch inputs"], change: None = None) -> Float[Tensor, "*batch outputs"]:
        return self.there(z)

    def back(self, y: Float[Tensor, "*batch outputs"], change: None = None) -> Float[Tensor, "*batch inputs"]:
        return self.return_map(y)
