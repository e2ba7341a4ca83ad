r"""Lossy coding rates of sets of tokens (arXiv 2306.01129, section 2; rows of ``z`` are tokens)."""

import torch
from jaxtyping import Float
from torch import Tensor


def coding_rate(z: Float[Tensor, "*batch tokens dim"], *, epsilon_squared: float) -> Float[Tensor, "*batch"]:
    r"""Number of nats to code the tokens of each item up to a squared error of ``epsilon_squared``.

    .. math:: R(Z) = \tfrac12 \log\det\bigl(I + \tfrac{d}{N \epsilon^2} Z^\top Z\bigr)

    (arXiv 2306.01129, section 2, for ``N`` tokens of dimension ``d``.) The smaller of the two Gram matrices, which give
    the same determinant, is factorised by Cholesky in float64 (float32 on devices without it), outside autocast. The
    result has the dtype of ``z``, or float32 for 16-bit input. If the identity is lost in rounding even in float64 (a
    ratio of about 1e14), it is scaled up to the rounding error of the Gram matrix, so that values and gradients stay
    finite for rank-deficient input.

    Args:
        epsilon_squared: the allowed error. The released measurement code calls it ``eps``, uses 0.01 and L2-normalises
            each token first.

    Raises:
        ValueError: ``epsilon_squared`` is not positive, or there are no tokens.
    """
    if not epsilon_squared > 0:
        raise ValueError(f"epsilon_squared is {epsilon_squared}: it must be positive")
    tokens, dim = z.shape[-2:]
    if tokens == 0:
        raise ValueError("the coding rate of zero tokens is not defined: give at least one token")
    result_dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        exact = torch.float32 if z.device.type == "mps" else torch.float64
        z = z.to(exact, memory_format=torch.contiguous_format)  # products of strided heads are 3 times slower
        gram = z.mT @ z if dim <= tokens else z @ z.mT
        gram = gram * (dim / (tokens * epsilon_squared))
        trace = gram.detach().diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        rounding = trace * (max(tokens, dim) * torch.finfo(z.dtype).eps)
        identity = torch.diag_embed(rounding.clamp(min=1.0)[..., None].expand(*trace.shape, gram.shape[-1]))
        factor, _ = torch.linalg.cholesky_ex(identity + gram)
        return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1).to(result_dtype)


def subspace_coding_rate(
    projected: Float[Tensor, "*batch heads tokens head_dim"], *, epsilon_squared: float
) -> Float[Tensor, "*batch"]:
    r"""Number of nats to code the tokens in each of the subspaces separately.

    .. math:: R^c(Z \mid U_{[K]}) = \sum_{k=1}^K R(U_k^\top Z)
        = \tfrac12 \sum_k \log\det\bigl(I + \tfrac{p}{N \epsilon^2} (U_k^\top Z)^\top (U_k^\top Z)\bigr)

    (arXiv 2306.01129, section 2.)

    Args:
        projected: :math:`U_k^\top z` of every head and token, as at the hook point ``MSSA.projection``.

    Raises:
        ValueError: ``epsilon_squared`` is not positive, or there are no tokens.
    """
    return coding_rate(projected, epsilon_squared=epsilon_squared).sum(dim=-1)


def rate_reduction(
    z: Float[Tensor, "*batch tokens dim"],
    projected: Float[Tensor, "*batch heads tokens head_dim"],
    *,
    epsilon_squared: float,
) -> Float[Tensor, "*batch"]:
    r"""Gain from coding the tokens as a mixture of subspaces, :math:`\Delta R = R(Z) - R^c(Z \mid U_{[K]})` (arXiv
    2306.01129, section 2).

    Raises:
        ValueError: ``epsilon_squared`` is not positive, or there are no tokens.
    """
    return coding_rate(z, epsilon_squared=epsilon_squared) - subspace_coding_rate(
        projected, epsilon_squared=epsilon_squared
    )
