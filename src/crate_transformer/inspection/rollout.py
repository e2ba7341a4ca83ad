"""Attention rollout."""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.inspection.attention import Query, by_head, mean_rows, query_tokens
from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.reader import reader
from crate_transformer.inspection.record import record


def attention_rollout(
    model: nn.Module, images: Float[Tensor, "images channels height width"], *, query: Query = "cls"
) -> Float[np.ndarray, "images rows columns"]:
    r"""Attention rollout: the flow from each patch to the query through all layers, with equal weight for the skip.

    .. math:: r = e_\mathrm{query}^\top \tilde A^L \cdots \tilde A^1, \qquad
              \tilde A^\ell = \tfrac12 \bigl(I + \tfrac1K \textstyle\sum_k A^\ell_k\bigr)

    (arXiv 2005.00928, with the mean over the heads.) The product is computed from the left, one row vector times one
    layer at a time, so that no tokens x tokens map is stored. Every row of every layer's maps is computed once, which
    costs as much as the attention of the forward pass, and the projections of all layers are stored. The part of the
    class token and of registers is dropped, and the rest is rescaled to sum 1.

    Raises:
        ValueError: as in ``attention_maps``.
    """
    if not len(images):
        raise ValueError("attention rollout needs at least one image")
    source = reader(model)
    rows, columns = source.grid(*images.shape[-2:])
    tokens, _ = query_tokens(query, source, rows, columns)
    names = [name for layer in source.layers for name in dict.fromkeys([layer.query, layer.key])]
    parts = []
    for image in images.split(1):
        with frozen(model), record(model, *names, reduce=lambda seen: by_head(seen, source.num_heads)) as seen:
            source.run(to_model(model, image), len(source.layers) - 1)
        last = seen[source.layers[-1].key]
        source.check_tokens(last.shape[2], (rows, columns))
        precision = torch.promote_types(last.dtype, torch.float32)
        reach = torch.zeros(1, last.shape[2], dtype=precision, device=last.device)
        reach[:, tokens] = 1 / len(tokens)
        for layer in reversed(source.layers):
            queries, keys = seen[layer.query], seen[layer.key]
            weights = reach[:, None].expand(-1, source.num_heads, -1).contiguous()
            reach = (reach + mean_rows(layer, queries, keys, weights).mean(dim=1)) / 2
        patches = reach[:, source.num_prefix_tokens :]
        parts.append((patches / patches.sum(dim=-1, keepdim=True)).cpu())
    return rearrange(torch.cat(parts), "i (r c) -> i r c", r=rows).numpy()
