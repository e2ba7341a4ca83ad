"""The compressing step of a CRATE layer."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.softmax_attention import softmax_attention


class MSSA(nn.Module):
    r"""Multi-head subspace self-attention: tokens attend to each other inside each learned subspace.

    .. math::
        \mathrm{MSSA}(Z \mid U_{[K]}) = W \, [\mathrm{SSA}_1; \dots; \mathrm{SSA}_K], \qquad
        \mathrm{SSA}_k = (U_k^\top Z)\, \mathrm{softmax}\bigl(p^{-1/2} (U_k^\top Z)^\top (U_k^\top Z)\bigr)

    (arXiv 2306.01129, eqs. 11-12, with the trainable output map ``W`` of appendix B.1.) Query, key and value are the
    same projection.

    Hook points: ``projection`` :math:`U_k^\top z`, ``(batch, heads, tokens, head_dim)``; ``attention``, the softmax map
    ``(batch, heads, tokens, tokens)``, computed only with a hook; ``head_output`` :math:`\mathrm{SSA}_k`,
    before the output map, as ``projection``.

    Args:
        head_dim: dimension ``p`` of each subspace; default: ``dim // num_heads``.
        out: whether there is a map ``W``; by default, only a single head of width ``dim`` has none.
        out_bias: whether ``W`` has a bias.
        causal: whether a token attends only to itself and the tokens before it.
    """

    rows = AttentionRows(query="projection", key="projection")

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        out: bool | None = None,
        out_bias: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if head_dim is None and dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}: give head_dim")
        head_dim = head_dim or dim // num_heads
        self.num_heads = num_heads
        self.causal = causal
        self.subspaces = nn.Linear(dim, num_heads * head_dim, bias=False)
        if out is None:
            out = num_heads > 1 or head_dim != dim
        if not out and num_heads * head_dim != dim:
            raise ValueError(f"without an output map num_heads {num_heads} times head_dim {head_dim} must be dim {dim}")
        self.out = nn.Linear(num_heads * head_dim, dim, bias=out_bias) if out else nn.Identity()
        self.attend = softmax_attention  # fuse_kernels replaces it with a kernel
        self.projection = HookPoint()
        self.attention = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of every head."""
        return rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        w = self.projection(self.project(z))
        ssa = self.head_output(self.attend(w, w, w, self.attention, causal=self.causal))
        return self.out(rearrange(ssa, "b h n p -> b n (h p)"))
