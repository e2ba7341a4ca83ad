"""Folding models for inference."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from crate_transformer.layers.full_precision import full_precision

Folded = TypeVar("Folded", bound="Foldable")


class Foldable(nn.Module):
    """A model whose modules, such as its blocks, may have a method ``fold_`` that rewrites them for inference."""

    folded = False

    def fold(self: Folded) -> Folded:
        """A copy for inference, exact up to rounding, in which everything that can be precomputed is computed once.

        CRATE's ISTA becomes one linear map; affine parts of norms and ToST's branch scales are folded into the adjacent
        linear maps. This is done in float32 or better and rounded once. The copy has no gradients and cannot be saved;
        the model is unchanged.

        Raises:
            ValueError: the model is already folded, or a module has parameters in several precisions.
        """
        if self.folded:
            raise ValueError("this model is already folded: fold the original model")
        with torch.inference_mode(False), full_precision(next(self.parameters()).device):
            folded = copy.deepcopy(self).eval().requires_grad_(False)
            folded.folded = True
            parts: list[Any] = [module for module in folded.modules() if hasattr(module, "fold_")]
            for part in parts:
                dtype, *others = {p.dtype for p in part.parameters()} or {next(folded.parameters()).dtype}
                if others:
                    raise ValueError(
                        f"a block has parameters in {dtype} and {others[0]}: convert the model to one of them"
                    )
                part.to(torch.promote_types(dtype, torch.float32)).fold_()
                part.to(dtype)
        return folded
