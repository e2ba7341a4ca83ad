"""Learning from pictures without labels, by filling in hidden patches."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class MaskedAutoencoding:
    """Squared error on hidden patches (arXiv 2404.02446); ``loss(model, (images, labels))`` is a scalar, labels unused.

    Whether pixels are normalised is the model's own matter, ``CRATEMAEConfig.normalise_pixels``.

    Args:
        mask_ratio: share of the patches that is hidden.
    """

    mask_ratio: float = 0.75

    def __call__(
        self, model: nn.Module, batch: tuple[Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]]
    ) -> Float[Tensor, ""]:
        images, _ = batch
        return model(images, mask_ratio=self.mask_ratio).loss
