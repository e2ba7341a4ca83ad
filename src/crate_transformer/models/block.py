"""What a block of every family tells about itself besides its forward pass."""

from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import HookPoint, SparseStep


@runtime_checkable
class Block(Protocol):
    r"""A layer of a backbone as inspection sees it.

    Attention receives the tokens through ``norm1``, and what it leaves passes ``z_half``. ``attention`` names the part
    that attends, see ``attention_of``. ``lowers_rate`` tells whether it was derived as a step that lowers :math:`R^c`
    of ``project``. ``sparse_code`` names the part of the block that outputs the sparse code, if there is one, and
    ``sparse_step`` is the problem that it solves.
    """

    norm1: nn.Module
    z_half: HookPoint
    attention: ClassVar[str]
    lowers_rate: ClassVar[bool]
    sparse_code: ClassVar[str | None]

    @property
    def sparse_step(self) -> SparseStep | None:
        """The problem that the second step solves, if it was derived from one."""
        ...

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r"""What attention compares if these are its tokens after ``norm1``: :math:`U_k^\top z`, of a ViT the keys."""
        ...


def attention_of(block: Block) -> nn.Module:
    """The part that attends.

    Its hook points are ``projection``, which sees what ``project`` gives, and ``head_output``; its ``rows`` say what a
    row of an attention map is (``AttentionRows``), ``None`` where no tokens are compared.
    """
    return block.get_submodule(block.attention)
