"""The sparsifying step of a CRATE layer."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import fold_norm, frozen_linear
from crate_transformer.layers.full_precision import full_precision, product_dtype, wide_dtype

COLUMNS = 192  # of a dictionary, multiplied at a time


class ISTA(nn.Module):
    r"""One proximal-gradient step on a non-negative LASSO problem over a learned complete dictionary.

    .. math:: \mathrm{ISTA}(z \mid D) = \mathrm{ReLU}\bigl(z + \eta D^\top (z - D z) - \eta \lambda \mathbf 1\bigr)

    (arXiv 2306.01129, eq. 17.) The three matrix products of the equation are computed as one:
    :math:`\mathrm{ReLU}(A z - \eta\lambda \mathbf 1)` with :math:`A = I + \eta D^\top (I - D)`, which is formed in
    float32 once per call at the cost of one ``dim x dim`` product. With fewer tokens than dimensions this would cost
    more than it saves, and two products are used instead. Under autocast only the correction :math:`(A - I) z` is in 16
    bits, for any number of tokens: rounding :math:`z` itself doubles the error. ``folded`` gives a layer for inference
    that stores ``A``.

    Args:
        step_size: :math:`\eta > 0`.
        sparsity_weight: :math:`\lambda \ge 0`.
    """

    num_steps = 1
    starts_at_input = True

    def __init__(self, dim: int, *, step_size: float = 0.1, sparsity_weight: float = 0.1) -> None:
        super().__init__()
        self.step_size = step_size
        self.sparsity_weight = sparsity_weight
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def folded_dictionary(self, dtype: torch.dtype | None = None) -> Float[Tensor, "dim dim"]:
        r""":math:`A = I + \eta D^\top (I - D)`, by default in the precision of :math:`D`."""
        return self._fold(1.0, dtype or self.dictionary.dtype)

    def _fold(self, diagonal: float, dtype: torch.dtype) -> Float[Tensor, "dim dim"]:
        with full_precision(self.dictionary.device):
            return FoldDictionary.apply(self.dictionary, self.step_size, diagonal, dtype)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        threshold = self.dictionary.new_full((z.shape[-1],), -self.step_size * self.sparsity_weight)
        tokens = math.prod(z.shape[:-1])  # unknown during export
        if isinstance(tokens, int) and tokens < z.shape[-1]:
            residual = z - F.linear(z, self.dictionary)
            return F.relu(z + self.step_size * F.linear(residual, self.dictionary.T) + threshold)
        products = product_dtype(self.dictionary)
        if products == self.dictionary.dtype:
            return F.relu(F.linear(z, self.folded_dictionary(), threshold))
        return F.relu(z + F.linear(z, self._fold(0.0, products), threshold))

    def folded(self, norm: nn.LayerNorm) -> tuple[nn.LayerNorm, nn.Sequential]:
        """A norm and the following step for inference, without their parameters: a norm without scale and shift, one
        linear map and a ReLU."""
        bias = self.dictionary.new_full(self.dictionary.shape[:1], -self.step_size * self.sparsity_weight)
        plain, linear = fold_norm(norm, frozen_linear(self.folded_dictionary(), bias))
        return plain, nn.Sequential(linear, nn.ReLU())

    def extra_repr(self) -> str:
        return f"{self.dictionary.shape[0]}, step_size={self.step_size}, sparsity_weight={self.sparsity_weight}"


class FoldDictionary(torch.autograd.Function):
    r""":math:`A = \delta I + \eta D^\top (I - D)`, formed in float32 or better even under autocast, then rounded.

    From :math:`G = \partial \ell / \partial A` the backward pass computes
    :math:`\partial \ell / \partial D = \eta\,(G^\top - D (G + G^\top))`: one product, in the precision of :math:`G`,
    and only :math:`D` is stored.
    """

    @staticmethod
    def forward(
        dictionary: Float[Tensor, "dim dim"], step_size: float, diagonal: float, dtype: torch.dtype
    ) -> Float[Tensor, "dim dim"]:
        exact = dictionary.to(wide_dtype(dictionary.dtype))
        identity = torch.eye(exact.shape[0], dtype=exact.dtype, device=exact.device)
        return identity.mul_(diagonal).add_(exact.T - _gram(exact), alpha=step_size).to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float, torch.dtype], output: Tensor) -> None:
        dictionary, ctx.step_size, *_ = inputs
        ctx.save_for_backward(dictionary)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Float[Tensor, "dim dim"]
    ) -> tuple[Float[Tensor, "dim dim"], None, None, None]:
        (dictionary,) = ctx.saved_tensors
        with full_precision(dictionary.device):
            transposed = gradient.T.contiguous()
            both, step = gradient + transposed, ctx.step_size
            on_dictionary = torch.addmm(transposed, dictionary.to(both.dtype), both, beta=step, alpha=-step)
        return on_dictionary.to(dictionary.dtype), None, None, None


def _gram(dictionary: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    r""":math:`D^\top D`; on a CPU, entries equal by symmetry are computed once if that saves time."""
    if dictionary.device.type != "cpu":
        return dictionary.T @ dictionary
    gram = torch.empty_like(dictionary)
    for start in range(0, dictionary.shape[1], COLUMNS):
        end = start + COLUMNS
        gram[start:end, start:] = dictionary[:, start:end].T @ dictionary[:, start:]
        gram[end:, start:end] = gram[start:end, end:].T
    return gram
