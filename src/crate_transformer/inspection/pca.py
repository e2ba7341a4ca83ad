"""Principal components of patch features, as images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crate_transformer.inspection.blank import blank
from crate_transformer.inspection.projection import patch_features

_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class FeaturePCA:
    """Principal components of the features of all patches of all images together.

    ``first`` is the first component over all patches, scaled to [0, 1]; ``foreground`` are the patches above 0.5, or
    all patches if the background was kept; ``colours`` are three components of the foreground's features, each scaled
    to [0, 1] over the foreground, and 0 elsewhere. ``first_fraction`` and ``colour_fractions`` are the fractions of
    variance they explain. ``nothing_found`` marks the images without foreground.
    """

    first: Float[np.ndarray, "images rows columns"]
    foreground: Bool[np.ndarray, "images rows columns"]
    colours: Float[np.ndarray, "images rows columns 3"]
    first_fraction: float
    colour_fractions: Float[np.ndarray, "3"]
    nothing_found: Bool[np.ndarray, " images"]
    layer: int
    background_removed: bool
    patch_size: tuple[int, int]


def feature_pca(
    model: nn.Module,
    images: Float[Tensor, "images channels height width"],
    *,
    layer: int = -1,
    remove_background: bool = True,
) -> FeaturePCA:
    """Colour the patches of several images, preferably of one class, by the principal components of their features.

    The features are MSSA's projection, or the keys of a ViT (arXiv 2308.16271, appendix B). The first principal
    component over all images, scaled to [0, 1] and thresholded at 0.5, separates foreground from background; three
    components of the foreground become red, green and blue. The sign of a component is arbitrary: it is chosen so that
    the largest loading is positive, and for the first component so that patches at the image border are lower on
    average than inner patches, if there are any. Uniform images have no foreground.

    Args:
        model: a model of this package, or a plain ViT of timm or transformers.
        layer: zero-based, negative ones count from the end.

    Raises:
        ValueError: as in ``patch_features``.
    """
    seen = patch_features(model, images, layer=layer)
    features = seen.features.astype(np.float64)
    grid = features.shape[:3]
    everything = np.ones(grid, dtype=bool)
    scores, first_fraction = principal_components(features[everything], 1)
    first = scores[:, 0].reshape(grid)
    border = everything.copy()
    border[:, 1:-1, 1:-1] = False
    if border.any() and not border.all() and first[border].mean() > first[~border].mean():
        first = -first
    first = _unit_range(first)
    seen_something = ~blank(images)[:, None, None]
    foreground = (first > _HALF if remove_background else everything) & seen_something
    colours, colour_fractions = np.zeros((*grid, 3)), np.zeros(3)
    if foreground.any():
        scores, colour_fractions = principal_components(features[foreground], 3)
        colours[foreground] = _unit_range(scores)
    return FeaturePCA(
        first=first,
        foreground=foreground,
        colours=colours,
        first_fraction=float(first_fraction[0]),
        colour_fractions=colour_fractions,
        nothing_found=np.asarray(~foreground.any(axis=(1, 2))),
        layer=seen.layer,
        background_removed=remove_background,
        patch_size=seen.patch_size,
    )


def principal_components(
    features: Float[np.ndarray, "patches dim"], count: int
) -> tuple[Float[np.ndarray, "patches {count}"], Float[np.ndarray, "{count}"]]:
    """Scores on the first components and their fractions of variance; zeros if there are fewer components."""
    from sklearn.decomposition import PCA

    scores, fractions = np.zeros((len(features), count)), np.zeros(count)
    found = min(count, len(features) - 1, features.shape[1])
    if found < 1 or not np.ptp(features, axis=0).any():
        return scores, fractions
    pca: Any = PCA(found, svd_solver="covariance_eigh").fit(features)
    largest = np.take_along_axis(pca.components_, np.abs(pca.components_).argmax(axis=1)[:, None], axis=1)[:, 0]
    scores[:, :found] = pca.transform(features) * np.sign(largest)
    fractions[:found] = pca.explained_variance_ratio_
    return scores, fractions


def _unit_range(values: np.ndarray) -> np.ndarray:
    """Scaled to [0, 1]: a grid as a whole, scores column by column; 0 if all values are equal."""
    axis = 0 if values.ndim == 2 else None
    low, spread = values.min(axis=axis, keepdims=True), np.ptp(values, axis=axis, keepdims=True)
    return (values - low) / np.where(spread == 0, 1, spread)
