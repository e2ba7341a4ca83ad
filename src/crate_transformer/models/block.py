"""The interface of a block for inspection."""

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import HookPoint, SparseStep


@runtime_checkable
class Block(Protocol):
    r"""A block of a backbone, as used by inspection.

    ``norm1`` outputs the input of attention, and ``z_half`` sees the tokens after it. ``attention`` is the name of the
    attention module, see ``attention_of``. ``lowers_rate``: whether attention was derived as a step that lowers
    :math:`R^c` of ``project``. ``sparse_code`` is the name of the module that outputs the sparse code, if there is one,
    and ``sparse_step`` is the problem that it solves.
    """

    if TYPE_CHECKING:  # from Python 3.12 on, isinstance does not find submodules and parameters
        norm1: nn.Module
        z_half: HookPoint

    attention: ClassVar[str]
    lowers_rate: ClassVar[bool]
    sparse_code: ClassVar[str | None]

    @property
    def sparse_step(self) -> SparseStep | None:
        """The sparse coding problem of the second step, or ``None``."""
        ...

    def __call__(self, z: Tensor, /, **context: Any) -> Tensor: ...

    def get_submodule(self, target: str) -> nn.Module:
        """The module with this name, as in every ``nn.Module``."""
        ...

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r"""What attention compares, given its tokens after ``norm1``: :math:`U_k^\top z`, in a ViT the keys."""
        ...


@runtime_checkable
class EnergyBlock(Protocol):
    """A block whose two steps were each derived to lower an energy."""

    def energies(self, z: Float[Tensor, "batch tokens dim"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The energies that attention and the second step were derived to lower, at these tokens."""
        ...

    def changed(self) -> tuple[Tensor | None, Tensor | None]:
        """What this block adds to the weights of its subspaces and of its second step, which it may share."""
        ...


def attention_of(block: Block) -> Any:
    """The attention module of a block.

    It has the hook points ``projection``, which sees the output of ``project``, and ``head_output``. Its ``rows``
    define a row of its attention map (``AttentionRows``); they are ``None`` if it does not compare tokens.
    """
    return block.get_submodule(block.attention)
