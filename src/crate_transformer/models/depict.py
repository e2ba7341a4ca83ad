"""DEPICT, a decoder for semantic segmentation that consists of MSSA (arXiv 2411.03033)."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import MSSA, HookPoint
from crate_transformer.models.config import check_choices, check_numbers


@dataclass(frozen=True, kw_only=True)
class DEPICTConfig:
    """Architecture of a DEPICT decoder.

    Args:
        attention: ``"self"``: patches and class tokens attend to each other; ``"cross"``: patches attend to patches,
            then class tokens to patches in ``cross_depth`` further layers.
        norm_eps: added to the variance in the norm over the classes. With two classes the released value leaves little
            more than the sign of the difference of their cosines, and almost no gradient.
    """

    num_classes: int
    attention: Literal["self", "cross"] = "self"
    depth: int = 3
    num_heads: int = 3
    head_dim: int = 100
    cross_depth: int = 3
    cross_head_dim: int = 50
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_numbers(self)
        check_choices(self)
        if self.num_classes < 2:
            raise ValueError(f"num_classes is {self.num_classes}: segmentation needs at least 2")


class Step(nn.Module):
    """The parts of a compressing step with a learned step size, output map tied to the subspaces."""

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm, self.mssa = nn.LayerNorm(dim), MSSA(dim, num_heads, head_dim=head_dim, output="tied")
        self.step_size = nn.Parameter(torch.randn(1))
        nn.init.normal_(self.mssa.subspaces.weight, std=dim**-0.5)


class DecoderLayer(Step):
    r"""The step of all tokens: :math:`Z + \eta\, \mathrm{MSSA}(\mathrm{LN}(Z))`."""

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return z + self.step_size * self.mssa(self.norm(z))


class CrossDecoderLayer(Step):
    r"""The step of class tokens, which attend to the others: :math:`C + \eta\, \mathrm{MSSA}(C, \mathrm{LN}(Z))`, with
    ``MSSA.cross``."""

    def forward(
        self, classes: Float[Tensor, "batch classes dim"], z: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch classes dim"]:
        return classes + self.step_size * self.mssa.cross(classes, self.norm(z))


class DEPICT(nn.Module):
    r"""Logits of every patch (arXiv 2411.03033): cosines of patches and class tokens after the layers, normalised over
    the classes.

    .. math:: \mathrm{LN}\Bigl(\frac{z_i^\top c_m}{\lVert z_i \rVert \lVert c_m \rVert}\Bigr)_{m = 1}^{M}

    The hook point ``cosine`` is ``(batch, patches, classes)``.
    """

    def __init__(self, dim: int, config: DEPICTConfig) -> None:
        super().__init__()
        heads, cross = config.num_heads, config.attention == "cross"
        self.classes = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, config.num_classes, dim), std=0.02))
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, config.head_dim) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)
        self.cross_layers = nn.ModuleList(
            CrossDecoderLayer(dim, heads, config.cross_head_dim) for _ in range(config.cross_depth if cross else 0)
        )
        self.class_norm = nn.LayerNorm(dim) if cross else None
        self.cosine = HookPoint()
        self.mask_norm = nn.LayerNorm(config.num_classes, eps=config.norm_eps)

    def forward(self, patches: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch classes patches"]:
        classes = self.classes.expand(patches.shape[0], -1, -1)
        z = torch.cat([patches, classes], dim=1) if self.class_norm is None else patches
        for layer in self.layers:
            z = layer(z)
        z = self.norm(z)
        if self.class_norm is None:
            z, classes = z.split([patches.shape[1], classes.shape[1]], dim=1)
        else:
            for layer in self.cross_layers:
                classes = layer(classes, z)
            classes = self.class_norm(classes)
        cosine = self.cosine(F.normalize(z, dim=-1) @ F.normalize(classes, dim=-1).mT)
        return self.mask_norm(cosine).mT
