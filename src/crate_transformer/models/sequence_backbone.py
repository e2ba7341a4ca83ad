"""A backbone with positions along the sequence of tokens instead of on a grid."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.models.backbone import Backbone


def check_class_token(config: Any) -> None:
    """Check the options of a ``SequenceBackbone``.

    Raises:
        ValueError: there are register tokens, or the pooled class token does not exist.
    """
    if config.reg_tokens:
        raise ValueError(f"reg_tokens is {config.reg_tokens}: this family has none, leave it 0")
    if not config.class_token and config.global_pool != "avg":
        raise ValueError("class_token is False: set global_pool to 'avg'")


class SequenceBackbone(Backbone):
    """Positions are sines and cosines of each token's index, class token first; the class token is optional."""

    config: Any  # a configuration with ``class_token``

    def _make_tokens(self) -> None:
        if self.config.class_token:
            self.cls_token = nn.Parameter(torch.randn(1, 1, self.embed_dim))
        else:
            self.num_prefix_tokens = 0

    def prefix_tokens(self) -> list[Tensor]:
        """The class token, if there is one."""
        return [self.cls_token] if self.config.class_token else []

    def position(self, height: int, width: int) -> Float[Tensor, "1 tokens dim"]:
        r"""Sine and cosine interleaved, of :math:`n / 10000^{2i/d}` for token :math:`n` (arXiv 1706.03762, sec. 3.5).

        They are in float32, as in the released code of Hyper-SET.
        """
        rows, columns = self.grid_size(height, width)
        count = partial(torch.arange, dtype=torch.float64, device=next(self.parameters()).device)
        number, pair = count(rows * columns + self.num_prefix_tokens), count(0, self.embed_dim, 2)
        angle = number[:, None] / 10000 ** (pair / self.embed_dim)
        table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : self.embed_dim]
        return table.float()[None]

    def _resize_position(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Positions exist for every number of tokens."""
