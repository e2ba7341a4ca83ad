"""Objects cut out of a graph of patches, one after the other, without any label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crate_transformer.inspection.blank import blank
from crate_transformer.inspection.ncut import Cut, normalised_cut
from crate_transformer.inspection.patches import upsample
from crate_transformer.inspection.projection import patch_features

_SAME, _SMALL = 0.5, 0.01
MAX_GRAPH = 10_000
"""Patches of a picture whose graph still fits ordinary memory: its matrix takes 0.8 GB."""


@dataclass(frozen=True, kw_only=True)
class ObjectCuts:
    """The objects of one image in the order in which they were cut out; see ``MaskCut`` for the arrays."""

    masks: Bool[np.ndarray, "objects rows columns"]
    statuses: tuple[str, ...]
    eigenvectors: Float[np.ndarray, "objects rows columns"]
    eigenvalues: Float[np.ndarray, " objects"]
    errors: Float[np.ndarray, " objects"]
    seeds: Int[np.ndarray, "objects 2"]


@dataclass(frozen=True, kw_only=True)
class MaskCut:
    """Objects of every image on its grid of patches; masks of one image do not overlap.

    ``statuses`` tell for each object why its mask is as it is: ``accepted``; or empty, because it was ``overlap``
    (much the same as the one before), ``small`` (at most 1% of the grid), ``covered`` (by earlier objects), ``uncut``
    (no cut was better than another) or ``blank`` (the image is of one colour).
    ``eigenvectors`` are positive towards the object; ``eigenvalues`` are near 0 for a clear cut and 1 for none;
    ``errors`` bound what the solver left open, see ``ncut.Cut``. ``seeds`` are the row and column of the patch that is
    furthest on the object's side. ``layer`` and ``tau`` are the choices made.
    """

    masks: Bool[np.ndarray, "images objects rows columns"]
    statuses: tuple[tuple[str, ...], ...]
    eigenvectors: Float[np.ndarray, "images objects rows columns"]
    eigenvalues: Float[np.ndarray, "images objects"]
    errors: Float[np.ndarray, "images objects"]
    seeds: Int[np.ndarray, "images objects 2"]
    layer: int
    tau: float
    patch_size: tuple[int, int]

    @property
    def nothing_found(self) -> Bool[np.ndarray, " images"]:
        """Images in which all masks are empty."""
        return ~self.masks.any(axis=(1, 2, 3))

    def image_masks(self, image: int, size: tuple[int, int] | None = None) -> Bool[np.ndarray, "objects height width"]:
        """The masks of one image in pixels, every patch a block.

        Args:
            size: height and width of the picture that the masks are for; of the image that the model saw unless given.
        """
        rows, columns = self.masks.shape[2:]
        return upsample(self.masks[image], size or (rows * self.patch_size[0], columns * self.patch_size[1]))


def maskcut(
    model: nn.Module,
    images: Float[Tensor, "images channels height width"],
    *,
    num_masks: int = 3,
    tau: float = 0.15,
    layer: int = -1,
) -> MaskCut:
    """Cut up to ``num_masks`` objects out of each image by the features of its patches (arXiv 2301.11320, section 3.2).

    The features are MSSA's projection, of a ViT the keys, as in arXiv 2308.16271; see ``cut_objects`` for the rules.
    The papers give the models images of 480 x 480 pixels, resized without regard to their aspect.

    Args:
        model: one of ours, or a plain ViT of timm or of transformers.
        tau: patches whose features have a larger cosine are alike.
        layer: zero-based, negative ones count from the last.

    Raises:
        ValueError: as ``patch_features`` and ``cut_objects``.
    """
    _check(num_masks, tau)
    seen = patch_features(model, images, layer=layer)
    found = [
        _collect([_nothing(features.shape[:2], "blank")] * num_masks)
        if empty
        else cut_objects(features, num_masks=num_masks, tau=tau)
        for features, empty in zip(seen.features, blank(images), strict=True)
    ]
    return MaskCut(
        masks=np.stack([cuts.masks for cuts in found]),
        statuses=tuple(cuts.statuses for cuts in found),
        eigenvectors=np.stack([cuts.eigenvectors for cuts in found]),
        eigenvalues=np.stack([cuts.eigenvalues for cuts in found]),
        errors=np.stack([cuts.errors for cuts in found]),
        seeds=np.stack([cuts.seeds for cuts in found]),
        layer=seen.layer,
        tau=tau,
        patch_size=seen.patch_size,
    )


def _check(num_masks: int, tau: float) -> None:
    if num_masks < 1:
        raise ValueError(f"num_masks is {num_masks}: at least one object must be asked for")
    if not 0 <= tau < 1:
        raise ValueError(f"tau is {tau}: it must be a cosine from 0 to below 1, such as 0.15")


def cut_objects(
    features: Float[np.ndarray, "rows columns dim"], *, num_masks: int = 3, tau: float = 0.15
) -> ObjectCuts:
    r"""MaskCut on the features of one image, by the rules of its released code.

    Each step: (1) patches ``i``, ``j`` have affinity 1 where the cosine of their features exceeds ``tau``, else
    :math:`10^{-5}`; ``v`` is the second smallest generalised eigenvector of :math:`(D - A, D)`. (2) Its foreground lies
    above its mean. Where that holds three or four of the grid's corners, or not the entry of largest magnitude, the
    other side is the foreground. (3) The object is the foreground's part, connected across edges, that holds the seed,
    the patch furthest on this side. (4) From the second step on it is emptied where its IoU with the (possibly emptied)
    object before exceeds 0.5, or where it covers at most 1% of the grid. (5) The features under it become zero for the
    next steps. (6) Its mask is what no earlier mask covers.

    Where the largest entry lies on the side of three corners, rule (2) depends on the sign in which the eigenvector
    happens to come; here the largest entry is always positive. The released code wants a square grid; here the rules
    are applied to any. Where all patches are alike, its eigenvector is noise; here the mask is empty (``uncut``).

    Raises:
        ValueError: ``num_masks`` is below 1, or ``tau`` not a cosine from 0 to below 1.
    """
    _check(num_masks, tau)
    grid = features.shape[:2]
    edges = _edges(features.reshape(-1, features.shape[-1]), tau)
    steps: list[_Step] = []
    painted = np.zeros(grid, dtype=bool)
    cut: Cut | None = None
    for number in range(num_masks):
        if not number or steps[-1].component.any():
            cut = normalised_cut(edges, ~painted.ravel())
        step = _step(cut, grid, steps[-1].component if steps else None)
        steps.append(step)
        painted |= step.component
    return _collect(steps)


def _collect(steps: Sequence["_Step"]) -> ObjectCuts:
    covered, masks = np.zeros_like(steps[0].component), []
    for step in steps:
        masks.append(step.component & ~covered)
        covered |= step.component
    return ObjectCuts(
        masks=np.stack(masks),
        statuses=tuple(
            "covered" if step.component.any() and not mask.any() else step.status
            for step, mask in zip(steps, masks, strict=True)
        ),
        eigenvectors=np.stack([step.eigenvector for step in steps]),
        eigenvalues=np.array([step.eigenvalue for step in steps]),
        errors=np.array([step.error for step in steps]),
        seeds=np.array([step.seed for step in steps]),
    )


@dataclass(frozen=True)
class _Step:
    component: np.ndarray
    status: str
    eigenvector: np.ndarray
    eigenvalue: float
    error: float
    seed: Sequence[int]


def _edges(features: np.ndarray, tau: float) -> Bool[np.ndarray, "patches patches"]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.where(length == 0, 1, length)).astype(np.float32)
    return unit @ unit.T > np.float32(tau)


def _nothing(grid: tuple[int, int], status: str) -> _Step:
    return _Step(np.zeros(grid, dtype=bool), status, np.zeros(grid), 1.0, 0.0, (0, 0))


def _step(cut: Cut | None, grid: tuple[int, int], before: np.ndarray | None) -> _Step:
    if cut is None:
        return _nothing(grid, "uncut")
    vector, foreground = cut.vector.reshape(grid), cut.above.reshape(grid)
    if foreground[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
        vector, foreground = -vector, ~foreground
    seed = np.unravel_index(vector.argmax(), grid)
    labels, _ = scipy.ndimage.label(foreground)
    component = labels == labels[seed]
    status = "accepted"
    if before is not None:
        if (component & before).sum() > _SAME * (component | before).sum():
            status = "overlap"
        elif component.mean() <= _SMALL:
            status = "small"
    return _Step(
        component if status == "accepted" else np.zeros_like(component),
        status,
        vector,
        cut.eigenvalue,
        cut.error,
        tuple(int(place) for place in seed),
    )
