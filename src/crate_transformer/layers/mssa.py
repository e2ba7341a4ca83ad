"""The compressing step of a CRATE layer."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attend import attend
from crate_transformer.layers.tap import Tap


class MSSA(nn.Module):
    r"""Multi-head subspace self-attention: tokens attend to each other inside each learned subspace.

    .. math::
        \mathrm{MSSA}(Z \mid U_{[K]}) = W \, [\mathrm{SSA}_1; \dots; \mathrm{SSA}_K], \qquad
        \mathrm{SSA}_k = (U_k^\top Z)\, \mathrm{softmax}\bigl(p^{-1/2} (U_k^\top Z)^\top (U_k^\top Z)\bigr)

    (arXiv 2306.01129, eqs. 11-12, with the trainable output map ``W`` of appendix B.1.) One projection serves as query,
    key and value. With a single head of width ``dim`` there is no output map, as in the released code.

    Taps: ``projection`` :math:`U_k^\top z`, ``(batch, heads, tokens, head_dim)``; ``attention``, the softmax map
    ``(batch, heads, tokens, tokens)``, computed only when somebody listens.

    Args:
        head_dim: dimension ``p`` of each subspace; ``dim // num_heads`` unless given.
        out_bias: whether ``W`` has a bias.
    """

    def __init__(self, dim: int, num_heads: int, *, head_dim: int | None = None, out_bias: bool = True) -> None:
        super().__init__()
        if head_dim is None and dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}: give head_dim")
        head_dim = head_dim or dim // num_heads
        self.num_heads = num_heads
        self.subspaces = nn.Linear(dim, num_heads * head_dim, bias=False)
        has_out = num_heads > 1 or head_dim != dim
        self.out = nn.Linear(num_heads * head_dim, dim, bias=out_bias) if has_out else nn.Identity()
        self.projection = Tap()
        self.attention = Tap()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        w = rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads)
        w = self.projection(w)
        ssa = attend(w, w, w, self.attention)
        return self.out(rearrange(ssa, "b h n p -> b n (h p)"))
