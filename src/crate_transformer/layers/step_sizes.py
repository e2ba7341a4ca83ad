"""Step sizes that are learned functions of the step number and the tokens."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.rms_norm import RMSNorm


class StepSizes(nn.Module):
    r"""Two step sizes for every entry of every token (arXiv 2502.11646).

    .. math:: (\alpha, \beta) = A\,\mathrm{GELU}(t + \mathrm{RMSNorm}(z)) + b

    :math:`t` is the output of a small network for sines and cosines of the step number. All three linear maps are
    initialised to zero, so the initial step sizes are zero.

    Hook points: ``alpha`` and ``beta``, ``(batch, tokens, dim)``.

    Args:
        time_dim: number of sines and cosines.
        step: the step number, from 1.
        norm: whether there is an RMSNorm before the GELU.
    """

    def __init__(self, dim: int, time_dim: int, step: int, *, norm: bool = False) -> None:
        super().__init__()
        self.step, self.time_dim = step, time_dim
        self.time = TimeEmbedding(dim, time_dim)
        self.token_norm = RMSNorm(dim)
        self.norm = RMSNorm(dim) if norm else nn.Identity()
        self.out = nn.Linear(dim, 2 * dim)
        for linear in (self.time.fc1, self.time.fc2, self.out):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.alpha = HookPoint()
        self.beta = HookPoint()

    def forward(
        self, z: Float[Tensor, "batch tokens dim"]
    ) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch tokens dim"]]:
        t = self.time(self.step)
        alpha, beta = self.out(F.gelu(self.norm(t + self.token_norm(z)))).chunk(2, dim=-1)
        return self.alpha(alpha), self.beta(beta)


class TimeEmbedding(nn.Module):
    """Embedding of a step number: sines and cosines, computed in float32, two linear maps and norms."""

    def __init__(self, dim: int, time_dim: int) -> None:
        super().__init__()
        if time_dim % 2 or time_dim < 4:
            raise ValueError(f"time_dim is {time_dim}: it must be even and at least 4, for as many sines as cosines")
        self.time_dim = time_dim
        self.fc1, self.norm1, self.norm2 = nn.Linear(time_dim, dim), RMSNorm(dim), RMSNorm(dim)
        self.fc2, self.norm3 = nn.Linear(dim, dim), RMSNorm(dim)

    def encode(self, step: int) -> Float[Tensor, " time_dim"]:
        """Sines, then cosines, of the step number times frequencies from 1 down to 1/10000."""
        half = self.time_dim // 2
        exponents = torch.arange(half, dtype=torch.float32, device=self.norm1.weight.device)
        angles = step * torch.exp(exponents * -(math.log(10000) / (half - 1)))
        return torch.cat([angles.sin(), angles.cos()])

    def forward(self, step: int) -> Float[Tensor, " dim"]:
        first = F.gelu(self.norm1(self.fc1(self.encode(step).to(self.norm1.weight.dtype))))
        return self.norm3(self.fc2(self.norm2(first)))
