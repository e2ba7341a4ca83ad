"""MaskCut: object masks by repeated normalised cuts of a patch graph, without labels."""

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
"""Largest number of patches of a graph; its matrix takes 0.8 GB."""


@dataclass(frozen=True, kw_only=True)
class ObjectCuts:
    """The objects of one image in the order of the cuts; see ``MaskCut`` for the arrays."""

    masks: Bool[np.ndarray, "objects rows columns"]
    statuses: tuple[str, ...]
    eigenvectors: Float[np.ndarray, "objects rows columns"]
    eigenvalues: Float[np.ndarray, " objects"]
    errors: Float[np.ndarray, " objects"]
    seeds: Int[np.ndarray, "objects 2"]


@dataclass(frozen=True, kw_only=True)
class MaskCut:
    """Objects of every image on the patch grid; masks of one image do not overlap.

    ``statuses`` give the result for each object: ``accepted``; or an empty mask because of ``overlap`` (nearly the same
    as the previous object), ``small`` (at most 1% of the grid), ``covered`` (by earlier objects), ``uncut`` (no cut was
    better than another) or ``blank`` (a uniform image). ``eigenvectors`` are positive towards the object;
    ``eigenvalues`` are near 0 for a clear cut and 1 for no cut; ``errors`` bound the error of the solver, see
    ``ncut.Cut``. ``seeds`` are row and column of the patch farthest on the object's side. ``layer`` and ``tau`` are the
    values used.
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
        return np.asarray(~self.masks.any(axis=(1, 2, 3)))

    def image_masks(self, image: int, size: tuple[int, int] | None = None) -> Bool[np.ndarray, "objects height width"]:
        """The masks of one image in pixels, with each patch as a block.

        Args:
            size: height and width of the masks; default: those of the model's input image.
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
    """Up to ``num_masks`` object masks per image from its patch features (arXiv 2301.11320, section 3.2).

    The features are MSSA's projection, or the keys of a ViT, as in arXiv 2308.16271; see ``cut_objects`` for the rules.
    The papers use images of 480 x 480 pixels, resized without keeping the aspect ratio.

    Args:
        model: a model of this package, or a plain ViT of timm or transformers.
        tau: patches are connected if the cosine similarity of their features is larger than this.
        layer: zero-based, negative ones count from the end.

    Raises:
        ValueError: as in ``patch_features`` and ``cut_objects``.
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
        raise ValueError(f"num_masks is {num_masks}: it must be at least 1")
    if not 0 <= tau < 1:
        raise ValueError(f"tau is {tau}: it must be at least 0 and below 1, such as 0.15")


def cut_objects(
    features: Float[np.ndarray, "rows columns dim"], *, num_masks: int = 3, tau: float = 0.15
) -> ObjectCuts:
    r"""MaskCut on the features of one image, by the rules of its released code.

    In each step: (1) Patches ``i``, ``j`` have affinity 1 if the cosine of their features exceeds ``tau``, else
    :math:`10^{-5}`; ``v`` is the second smallest generalised eigenvector of :math:`(D - A, D)`. (2) The foreground are
    the entries above the mean of ``v``. If it contains three or four of the grid's corners, or does not contain the
    entry of largest magnitude, the other side is the foreground. (3) The object is the (4-connected) component of the
    foreground that contains the seed, the patch farthest on this side. (4) From the second step on, the object is
    emptied if its IoU with the previous (possibly emptied) object exceeds 0.5, or if it covers at most 1% of the grid.
    (5) The features under it are set to zero for the next steps. (6) Its mask excludes all earlier masks.

    If the largest entry is on the side with three corners, rule (2) depends on the arbitrary sign of the eigenvector;
    here the largest entry is always positive. The released code requires a square grid; here any grid is accepted. If
    all patches are alike, the eigenvector of the released code is noise; here the mask is empty (``uncut``).

    Raises:
        ValueError: ``num_masks`` is below 1, or ``tau`` is not at least 0 and below 1.
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
    labels, _ = scipy.ndimage.label(foreground)  # pyright: ignore[reportGeneralTypeIssues]
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
