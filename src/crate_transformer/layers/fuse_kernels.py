"""Use of this package's GPU kernels in a model."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.kernels import MAX_HEAD_DIM, worthwhile
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.mssa import MSSA
from crate_transformer.layers.norm_linear import NormLinear
from crate_transformer.layers.softmax_attention import softmax_attention


def fuse_kernels(model: nn.Module, *, tune: bool = True) -> None:
    """Let a model on a GPU use this package's Triton kernels in 16 bits, in place (docs/performance.md).

    The attention of ``MSSA`` becomes one kernel forward and two backward, also in training. In a folded CRATE, a norm,
    the following linear map and its ReLU become one kernel. Where the kernels do not apply (on a CPU, in float32, for
    causal attention, or if a hook needs the attention map), PyTorch's operators are used as before.

    Args:
        tune: whether several tilings are tried for each new shape, which takes seconds.

    Raises:
        RuntimeError: Triton is not installed.
    """
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            "fuse_kernels needs triton, which is not installed: pip install triton (on Linux)"
        ) from error
    for module in list(model.modules()):
        if isinstance(module, MSSA):
            module.attend = attend_fused
        if _is_folded_crate_block(module):
            _fuse_block(module, tune)


def attend_fused(
    query: Float[Tensor, "batch heads tokens head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    hook_point: HookPoint,
    *,
    causal: bool = False,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """``softmax_attention`` of one projection with itself, as one kernel if possible."""
    shared = query is key is value and query.shape[-1] <= MAX_HEAD_DIM
    if not shared or causal or hook_point.has_hooks or not worthwhile(query.device, query.dtype):
        return softmax_attention(query, key, value, hook_point, causal=causal)
    from crate_transformer.kernels.shared_attention import shared_attention

    return shared_attention(query)


def _fuse_block(block: Any, tune: bool) -> None:
    attention = block.get_submodule(block.attention)
    attention.subspaces = NormLinear(block.norm1, attention.subspaces, tune=tune)
    block.ista = NormLinear(block.norm2, block.ista[0], relu=True, tune=tune)
    block.norm1, block.norm2 = nn.Identity(), nn.Identity()


def _is_folded_crate_block(module: nn.Module) -> bool:
    step, attention = getattr(module, "ista", None), getattr(module, "attention", None)
    if type(step) is not nn.Sequential or [type(part) for part in step] != [nn.Linear, nn.ReLU]:
        return False
    return attention is not None and hasattr(module.get_submodule(attention), "subspaces")
