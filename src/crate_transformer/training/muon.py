"""Muon, an optimiser of matrices."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from crate_transformer.training.sharding import divided_like, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a step that lifts small singular values most
STEPS = 5
AT_ONCE = 2**24  # numbers of the matrices of one shape that are orthogonalised together


class Muon(Optimizer):
    r"""Every step is an orthogonal matrix near the momentum (arXiv 2502.16982, eq. 4, with Nesterov's momentum).

    .. math::
        M \leftarrow \mu M + (1 - \mu) G, \qquad
        W \leftarrow (1 - \gamma \lambda) W
            - 0.2 \, \gamma \sqrt{\max(r, c)} \; \mathrm{orthogonalised}\bigl(\mu M + (1 - \mu) G\bigr)

    for :math:`W` of ``r x c``; the factor gives the step the size of one of AdamW. It is ``torch.optim.Muon``, except
    that matrices of one shape are multiplied together, in a precision of choice.

    Args:
        products: precision of the products; PyTorch's are in bf16, which a processor without such products emulates
            at ten times the cost of float32 and more.

    Raises:
        ValueError: a parameter is not a matrix.
    """

    def __init__(
        self,
        parameters: ParamsT,
        lr: float,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        products: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.products = products
        for parameter in (parameter for group in self.param_groups for parameter in group["params"]):
            if parameter.ndim != 2:
                raise ValueError(f"Muon moves matrices, and one parameter has the shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient; returns what ``closure`` does, which is called first."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            alike = defaultdict(list)
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    alike[parameter.shape, parameter.device, gradient.dtype].append((parameter, gradient))
            for (shape, _, _), pairs in alike.items():
                together = max(1, AT_ONCE // max(1, shape.numel()))
                for start in range(0, len(pairs), together):
                    self._move(pairs[start : start + together], group)
        return loss

    def _move(self, pairs: Sequence[tuple[nn.Parameter, Tensor]], group: dict[str, Any]) -> None:
        """Parameters of one shape, with gradients; where they are divided, every process computes the whole step."""
        rate, momentum = group["lr"], group["momentum"]
        ahead = []
        for parameter, gradient in pairs:
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            state["momentum_buffer"].lerp_(gradient, 1 - momentum)
            ahead.append(whole(gradient.lerp(state["momentum_buffer"], momentum)))
        steps = orthogonalised(torch.stack(ahead).to(self.products))
        scale = 0.2 * max(steps[0].shape) ** 0.5
        for (parameter, _), step in zip(pairs, steps, strict=True):
            step = divided_like(parameter, step.to(parameter.dtype))
            parameter.mul_(1 - rate * group["weight_decay"]).add_(step, alpha=-rate * scale)


def orthogonalised(matrices: Float[Tensor, "count rows columns"]) -> Float[Tensor, "count rows columns"]:
    r"""Singular values brought near 1, between about 0.7 and 1.2, where they are not far smaller than the largest.

    Five Newton-Schulz steps :math:`X \leftarrow a X + (b\,XX^\top + c\,(XX^\top)^2) X` from a norm of 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
