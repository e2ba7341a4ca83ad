"""The main directions in which the features of patches vary, as pictures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crate_transformer.inspection.blank import blank
from crate_transformer.inspection.projection import patch_features

_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class FeaturePCA:
    """Principal components of the features of all patches of all images together.

    ``first`` is the first component over all patches, scaled from 0 to 1; ``foreground`` are the patches above 0.5, or
    all of them where the background was kept; ``colours`` are the three components of the foreground's features, each
    scaled from 0 to 1 over the foreground, and 0 elsewhere. ``first_fraction`` and ``colour_fractions`` tell what
    fraction of the variance they explain. ``nothing_found`` marks the images without foreground.
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
    """Colour the patches of several images, best of one class, by what their features have in common.

    The features are MSSA's projection, of a ViT the keys (arXiv 2308.16271, appendix B): the first principal component
    over all images, scaled from 0 to 1 and cut at 0.5, parts foreground from background, and three components of the
    foreground become red, green and blue. Components have no sign of their own: they are turned so that their largest
    loading is positive, and the first one so that patches at the border of the pictures are lower on average than those
    inside, if there are any inside. Images of one colour have no foreground.

    Args:
        model: one of ours, or a plain ViT of timm or of transformers.
        layer: zero-based, negative ones count from the last.

    Raises:
        ValueError: as ``patch_features``.
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
        nothing_found=~foreground.any(axis=(1, 2)),
        layer=seen.layer,
        background_removed=remove_background,
        patch_size=seen.patch_size,
    )


def principal_components(
    features: Float[np.ndarray, "patches dim"], count: int
) -> tuple[Float[np.ndarray, "patches {count}"], Float[np.ndarray, "{count}"]]:
    """Scores on the first components and their fractions of variance; zeros where there are no more components."""
    from sklearn.decomposition import PCA

    scores, fractions = np.zeros((len(features), count)), np.zeros(count)
    found = min(count, len(features) - 1, features.shape[1])
    if found < 1 or not np.ptp(features, axis=0).any():
        return scores, fractions
    pca = PCA(found, svd_solver="covariance_eigh").fit(features)
    largest = np.take_along_axis(pca.components_, np.abs(pca.components_).argmax(axis=1)[:, None], axis=1)[:, 0]
    scores[:, :found] = pca.transform(features) * np.sign(largest)
    fractions[:found] = pca.explained_variance_ratio_
    return scores, fractions


def _unit_range(values: np.ndarray) -> np.ndarray:
    """Scaled from 0 to 1: a grid as a whole, scores column by column; 0 where all are equal."""
    axis = 0 if values.ndim == 2 else None
    low, spread = values.min(axis=axis, keepdims=True), np.ptp(values, axis=axis, keepdims=True)
    return (values - low) / np.where(spread == 0, 1, spread)
