"""Models whose copies for inference compute beforehand what they can."""

import copy
from typing import TypeVar

import torch
from torch import nn

from crate_transformer.layers.full_precision import full_precision

Model = TypeVar("Model", bound=nn.Module)


class Foldable:
    """A model whose parts, such as its blocks, may have a method ``fold_`` that rewrites them for inference."""

    folded = False

    def fold(self: Model) -> Model:
        """A copy for inference, exact up to rounding: what a part can compute beforehand is computed once.

        CRATE's ISTA becomes one linear map; affine parts of norms and ToST's scales of branches join the linear maps
        beside them. That happens in float32 or better and is rounded once. The copy has no gradients and is not for
        saving; the model stays as it is.

        Raises:
            ValueError: the model is folded already, or a part of it is of several precisions.
        """
        if self.folded:
            raise ValueError("this model is folded already: fold the model that it was made from")
        with torch.inference_mode(False), full_precision(next(self.parameters()).device):
            folded = copy.deepcopy(self).eval().requires_grad_(False)
            folded.folded = True
            for part in [module for module in folded.modules() if hasattr(module, "fold_")]:
                dtype, *others = {parameter.dtype for parameter in part.parameters()}
                if others:
                    raise ValueError(
                        f"a block has parameters in {dtype} and {others[0]}: bring the model to one of them"
                    )
                part.to(torch.promote_types(dtype, torch.float32)).fold_()
                part.to(dtype)
        return folded
