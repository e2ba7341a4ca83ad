"""Images with masks on the token grid, and the choice among candidate maps of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from crate_transformer.evaluation.candidates import Candidates, both_signs, of_batches, of_cues
from crate_transformer.evaluation.comparison import keep_highest
from crate_transformer.evaluation.scores import FRACTIONS, MaskScore, shuffled_auc, shuffled_iou, top_iou
from crate_transformer.inspection import on_grid
from crate_transformer.inspection.agreement import rank_auc
from crate_transformer.models import Backbone


@dataclass(frozen=True)
class MaskedImages:
    """Images with a usable mask, their ``index`` among all images, their masks on the token grid, the patches to score
    (``None``: all), and the maps of the trivial cues."""

    images: Tensor
    index: Int[np.ndarray, " images"]
    masks: Bool[np.ndarray, "images rows columns"]
    scored: Bool[np.ndarray, "images rows columns"] | None
    cues: dict[str, Candidates]
    num_dropped: int = 0

    def subset(self, indices: np.ndarray) -> "MaskedImages":
        """Some of the images, by index."""
        cues = {name: cue.on(indices) for name, cue in self.cues.items()}
        scored = None if self.scored is None else self.scored[indices]
        images = self.images[torch.from_numpy(indices)]
        return MaskedImages(images, self.index[indices], self.masks[indices], scored, cues)

    def maps(self, name: str, model: Backbone) -> Candidates:
        """The model's attention maps of these images."""
        return of_batches(model, [self.images], repr(name))


def usable_images(
    grid: tuple[int, int], images: Tensor, masks: Tensor, pixels: Tensor, undecided: Tensor | None = None
) -> MaskedImages:
    """The images whose mask is neither empty nor full on the token grid."""
    parts = {"masks": masks, "pixels": pixels} | ({} if undecided is None else {"undecided masks": undecided})
    for what, given in parts.items():
        if len(given) != len(images) or given.shape[-2:] != images.shape[-2:]:
            raise ValueError(
                f"there are {len(images)} images of {tuple(images.shape[-2:])}, but {len(given)} {what} of "
                f"{tuple(given.shape[-2:])}: give one of the same size for each image"
            )
    unknown = None if undecided is None else undecided.cpu().numpy()
    objects = on_grid(masks.cpu().numpy(), grid, unknown)
    scored = None if unknown is None else ~on_grid(unknown, grid)
    if scored is not None:
        objects &= scored
    outside = ~objects if scored is None else ~objects & scored
    usable = np.flatnonzero(objects.any(axis=(1, 2)) & outside.any(axis=(1, 2)))
    everything = MaskedImages(images, np.arange(len(images)), objects, scored, of_cues(pixels, grid))
    return replace(everything.subset(usable), num_dropped=len(images) - len(usable))


class Scorer:
    """Chooses among candidate maps on the selection images and scores the choice on the reported ones.

    Args:
        signs: every candidate may also be inverted.
    """

    def __init__(self, selection: MaskedImages, reported: MaskedImages, *, signs: bool) -> None:
        self.selection, self.reported = _flat(selection.masks), _flat(reported.masks)
        self.selection_scored, self.scored = (
            None if images.scored is None else _flat(images.scored) for images in (selection, reported)
        )
        self.signs = signs
        self.auc: dict[str, MaskScore] = {}
        self.miou: dict[str, MaskScore] = {}

    def add(self, row: str, selection: Candidates, reported: Candidates, *, shuffle: bool = False) -> np.ndarray:
        """Score one row; returns the AUC of each candidate, not inverted, on the selection images. Of a row that is
        added several times, the highest scores are kept.

        Args:
            shuffle: also score the chosen maps against the masks of the other images.
        """
        count = len(selection.choices)
        if self.signs:
            selection, reported = both_signs(selection), both_signs(reported)
        chosen_on, maps, choices = _flat(selection.maps), _flat(reported.maps), selection.choices
        aucs = rank_auc(chosen_on, self.selection, self.selection_scored).mean(axis=-1)
        best = int(aucs.argmax())
        auc = MaskScore(per_image=rank_auc(maps[best], self.reported, self.scored), **choices[best])
        keep_highest(self.auc, row, auc)
        ious = top_iou(chosen_on, self.selection, FRACTIONS, self.selection_scored).mean(axis=-1)
        which, largest = (int(index) for index in np.unravel_index(ious.argmax(), ious.shape))
        fraction = FRACTIONS[which]
        (iou,) = top_iou(maps[largest], self.reported, [fraction], self.scored)
        keep_highest(self.miou, row, MaskScore(per_image=iou, fraction=fraction, **choices[largest]))
        if shuffle:
            other = shuffled_auc(maps[best], self.reported, self.scored)
            self.auc[f"{row}_shuffled"] = replace(self.auc[row], per_image=other)
            other = shuffled_iou(maps[largest], self.reported, fraction, self.scored)
            self.miou[f"{row}_shuffled"] = replace(self.miou[row], per_image=other)
        return aucs[:count]


def _flat(grids: Shaped[np.ndarray, "*lead rows columns"]) -> Shaped[np.ndarray, "*lead entries"]:
    return grids.reshape(*grids.shape[:-2], -1)
