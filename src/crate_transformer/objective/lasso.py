r"""The LASSO objective of sparse coding."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def lasso(
    z: Float[Tensor, "*batch tokens dim"],
    code: Float[Tensor, "*batch tokens atoms"],
    dictionary: Float[Tensor, "dim atoms"],
    *,
    sparsity_weight: float,
) -> Float[Tensor, "*batch tokens"]:
    r"""The objective of sparse coding of each token, :math:`F(a) = \tfrac12 \|z - D a\|^2 + \lambda \|a\|_1`.

    (arXiv 2306.01129, section 2.3. Codes there are non-negative: a code with a negative entry is not feasible, and its
    objective is not comparable.) Computed in float32 or better, whatever the dtype of the inputs.
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        code = code.to(dtype)
        residual = z.to(dtype) - F.linear(code, dictionary.to(dtype))
        return residual.square().sum(dim=-1) / 2 + sparsity_weight * code.abs().sum(dim=-1)
