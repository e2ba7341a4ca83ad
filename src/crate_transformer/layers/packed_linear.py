"""Linear maps for inference on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN and its fused linear operator."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class PackedLinear(nn.Module):
    """A linear map, with a ReLU behind it if wanted, whose weight lies in memory as oneDNN multiplies it fastest.

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
    """Pack every linear map of a folded model in place; nothing where this PyTorch cannot.

    Args:
        dtype: precision of the products, such as ``torch.bfloat16``; that of the weights unless given.
    """
    if not can_pack():
        return
    for name, module in list(model.named_modules()):
        parent, _, child = name.rpartition(".")
        if type(module) is nn.Sequential and [type(part) for part in module] == [nn.Linear, nn.ReLU]:
            setattr(model.get_submodule(parent), child, PackedLinear(module[0], relu=True, dtype=dtype))
        elif type(module) is nn.Linear and type(model.get_submodule(parent)) is not PackedLinear:
            setattr(model.get_submodule(parent), child, PackedLinear(module, dtype=dtype))
