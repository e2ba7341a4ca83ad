"""Linear maps for inference on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has oneDNN's fused linear operator, and this CPU supports it in this precision."""
    operators = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return operators._is_mkldnn_bf16_supported()
    if dtype == torch.float16:
        return operators._is_mkldnn_fp16_supported()
    return dtype == torch.float32


class PackedLinear(nn.Module):
    """A linear map, optionally with a ReLU, whose weight is stored in oneDNN's fastest memory layout.

    For inference on a CPU only: no gradients, no export, no saving. Inputs are cast to the precision of the weight.
    """

    def __init__(self, linear: nn.Linear, *, relu: bool = False, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        weight = linear.weight.detach().to(dtype or linear.weight.dtype)
        self.dtype, self.after = weight.dtype, "relu" if relu else "none"
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.bias = None if linear.bias is None else linear.bias.detach().to(weight.dtype)

    def forward(self, z: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return torch.ops.mkldnn._linear_pointwise(z.to(self.dtype), self.weight, self.bias, self.after, [], "")


def pack_linears(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Pack every linear map of a folded model in place; maps that ``can_pack`` excludes are unchanged.

    Args:
        dtype: precision of the products, such as ``torch.bfloat16``; default: that of the weights.
    """
    for name, module in list(model.named_modules()):
        parent, _, child = name.rpartition(".")
        parts = list(module) if type(module) is nn.Sequential else []
        with_relu = [type(part) for part in parts] == [nn.Linear, nn.ReLU]
        linear = parts[0] if with_relu else module
        if type(linear) is not nn.Linear or type(model.get_submodule(parent)) is PackedLinear:
            continue
        if can_pack(dtype or linear.weight.dtype):
            setattr(model.get_submodule(parent), child, PackedLinear(linear, relu=with_relu, dtype=dtype))
