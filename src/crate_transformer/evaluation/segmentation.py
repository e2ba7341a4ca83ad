"""Segmentation of objects by the class token's attention, without segmentation labels in training."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from crate_transformer.evaluation.candidates import Candidates, of_batches, of_cues, of_prior
from crate_transformer.evaluation.scores import (
    FRACTIONS,
    MaskScore,
    shuffled_auc,
    shuffled_iou,
    top_iou,
)
from crate_transformer.inspection import on_grid, untrained_twin
from crate_transformer.inspection.agreement import rank_auc
from crate_transformer.models import Backbone

_TRIVIAL = ("brightness", "contrast", "median_difference")
_CUES = ("mean_mask_prior", *_TRIVIAL)


@dataclass(frozen=True, kw_only=True)
class SegmentationReport:
    """Agreement of attention with object masks on the token grid, with all controls, on the reported images.

    Rows of ``auc`` and ``miou`` for each model ``m``: ``m``; ``m_untrained``, randomly initialised; ``m_shuffled``, the
    map chosen for ``m`` against the masks of all *other* images (mean); ``m_centred`` and ``m_untrained_centred``,
    after subtracting each head's mean map over the selection images. Further rows: ``mean_mask_prior``, the mean
    selection mask for every image; ``brightness`` and ``contrast``, mean and standard deviation of each patch's
    luminance; ``median_difference``, the absolute difference of the brightness from that of the image's median patch.
    ``layer_auc`` is the AUC of each layer's best head for ``m`` and ``m_untrained``, and ``layer_heads`` are these
    heads; ``selection_auc`` is the AUC of each layer and head on the selection images, used for the choice. Images
    whose mask is empty or full on the grid are excluded: ``num_dropped``.
    """

    models: tuple[str, ...]
    auc: dict[str, MaskScore]
    miou: dict[str, MaskScore]
    layer_auc: dict[str, np.ndarray]
    layer_heads: dict[str, tuple[int, ...]]
    selection_auc: dict[str, np.ndarray]
    num_selection: int
    num_reported: int
    num_dropped: int
    input_size: tuple[int, int]
    grid: tuple[int, int]

    def beats(self, name: str, metric: Literal["auc", "miou"] = "auc") -> dict[str, bool]:
        """For each control of a model: whether the model is above it by more than two standard errors of their
        difference, paired over images."""
        if name not in self.models:
            raise ValueError(f"there is no model {name!r}: choose one of {', '.join(self.models)}")
        rows: dict[str, MaskScore] = getattr(self, metric)
        statuses = {}
        for control in (f"{name}_untrained", f"{name}_shuffled", *_CUES):
            difference = rows[name].per_image - rows[control].per_image
            margin = 2 * difference.std(ddof=1) / len(difference) ** 0.5
            statuses[control] = bool(difference.mean() > max(margin, 1e-9))
        return statuses

    def to_dict(self) -> dict[str, object]:
        """Everything except per-image values, ready for JSON."""
        return {
            "auc": {row: score.to_dict() for row, score in self.auc.items()},
            "miou": {row: score.to_dict() for row, score in self.miou.items()},
            "beats": {m: {metric: self.beats(m, metric) for metric in ("auc", "miou")} for m in self.models},
            "layer_auc": {row: values.tolist() for row, values in self.layer_auc.items()},
            "layer_heads": {row: list(heads) for row, heads in self.layer_heads.items()},
            "selection_auc": {row: values.tolist() for row, values in self.selection_auc.items()},
            "choice_rule": "layer, head, sign and fraction are the best on the selection images, for each row",
            "threshold_rule": "the mask of a map is its largest fraction of entries",
            "num_selection": self.num_selection,
            "num_reported": self.num_reported,
            "num_dropped": self.num_dropped,
            "input_size": list(self.input_size),
            "grid": list(self.grid),
        }


@dataclass(frozen=True)
class _MaskedImages:
    """Images with a usable mask, their masks on the token grid, and the maps of the trivial cues."""

    images: Tensor
    masks: Bool[np.ndarray, "images rows columns"]
    cues: dict[str, Candidates]
    num_dropped: int = 0

    def subset(self, indices: np.ndarray) -> "_MaskedImages":
        cues = {name: cue.on(indices) for name, cue in self.cues.items()}
        return _MaskedImages(self.images[torch.from_numpy(indices)], self.masks[indices], cues)

    def maps(self, name: str, model: Backbone) -> Candidates:
        """The model's attention maps of these images."""
        return of_batches(model, [self.images], repr(name))


def _common_grid(models: dict[str, Backbone], images: Tensor) -> tuple[int, int]:
    grids = {name: model.grid_size(*images.shape[-2:]) for name, model in models.items()}
    if len(set(grids.values())) != 1:
        found = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in grids.items()) or "no model"
        raise ValueError(f"attention is compared on one token grid, but there are {found}: evaluate them separately")
    return next(iter(grids.values()))


def _on_grid(images: Tensor, masks: Tensor, pixels: Tensor, grid: tuple[int, int]) -> _MaskedImages:
    for what, given in (("masks", masks), ("pixels", pixels)):
        if len(given) != len(images) or given.shape[-2:] != images.shape[-2:]:
            raise ValueError(
                f"there are {len(images)} images of {tuple(images.shape[-2:])}, but {len(given)} {what} of "
                f"{tuple(given.shape[-2:])}: give one of the same size for each image"
            )
    masks_on_grid = on_grid(masks.cpu().numpy(), grid)
    usable = np.flatnonzero(masks_on_grid.any(axis=(1, 2)) & ~masks_on_grid.all(axis=(1, 2)))
    everything = _MaskedImages(images, masks_on_grid, of_cues(pixels, grid, _TRIVIAL))
    return replace(everything.subset(usable), num_dropped=len(images) - len(usable))


class _Scorer:
    """Chooses among candidate maps on the selection images and scores the choice on the reported ones."""

    def __init__(self, selection: _MaskedImages, reported: _MaskedImages) -> None:
        self.selection, self.reported = _flat(selection.masks), _flat(reported.masks)
        self.auc: dict[str, MaskScore] = {}
        self.miou: dict[str, MaskScore] = {}

    def add(self, row: str, selection: Candidates, reported: Candidates) -> np.ndarray:
        """Score one row; returns each candidate's AUC on the selection images."""
        chosen_on, maps, choices = _flat(selection.maps), _flat(reported.maps), selection.choices
        aucs = rank_auc(chosen_on, self.selection).mean(axis=-1)
        best = int(aucs.argmax())
        self.auc[row] = MaskScore(per_image=rank_auc(maps[best], self.reported), **choices[best])
        ious = top_iou(chosen_on, self.selection, FRACTIONS).mean(axis=-1)
        which, best = (int(index) for index in np.unravel_index(ious.argmax(), ious.shape))
        (iou,) = top_iou(maps[best], self.reported, [FRACTIONS[which]])
        self.miou[row] = MaskScore(per_image=iou, fraction=FRACTIONS[which], **choices[best])
        return aucs

    def add_shuffled(self, row: str, reported: Candidates) -> None:
        """Score the maps chosen for ``row`` against the masks of the other images."""
        for rows, score in ((self.auc, self.auc[row]), (self.miou, self.miou[row])):
            choice = {"layer": score.layer, "head": score.head}
            maps = _flat(reported.maps)[reported.choices.index(choice)]
            if score.fraction is None:
                per_image = shuffled_auc(maps, self.reported)
            else:
                per_image = shuffled_iou(maps, self.reported, score.fraction)
            rows[f"{row}_shuffled"] = MaskScore(per_image=per_image, fraction=score.fraction, **choice)


def _flat(grids: Shaped[np.ndarray, "*lead rows columns"]) -> Shaped[np.ndarray, "*lead entries"]:
    return grids.reshape(*grids.shape[:-2], -1)


def attention_segmentation(
    models: dict[str, Backbone],
    images: Float[Tensor, "images 3 height width"],
    masks: Bool[Tensor, "masks mask_height mask_width"],
    pixels: UInt8[Tensor, "pixels 3 pixel_height pixel_width"],
    *,
    selection: tuple[Tensor, Tensor, Tensor] | None = None,
    selection_fraction: float = 0.5,
    seed: int = 0,
) -> SegmentationReport:
    """Score the class token's attention in every layer and head against object masks, with controls.

    A mask on the token grid contains the patches that it covers by more than half. AUC is the probability that an
    object patch gets more attention than a background patch (mean over images); mIoU is the mean over images of the
    IoU of the mask with the largest entries of the map. For each row, layer and head (and the fraction of entries, and
    the sign of brightness and contrast) are chosen on the selection images and scored on the others.

    Args:
        models: names and models with the same token grid.
        images: preprocessed images.
        masks: true on the object, with the size of the images.
        pixels: the same images before normalisation, for the luminance.
        selection: separate ``(images, masks, pixels)`` for the choices; all of ``images`` are then reported.
        selection_fraction: without ``selection``, the fraction of the images for the choices, drawn with ``seed``.
        seed: also the seed of the untrained models.

    Raises:
        ValueError: sizes do not match, there is no usable selection image or fewer than two reported ones, or the
            outputs of a model are not finite.
    """
    grid = _common_grid(models, images)
    reported = _on_grid(images, masks, pixels, grid)
    num_dropped = reported.num_dropped
    if selection is not None:
        chosen_on = _on_grid(*selection, _common_grid(models, selection[0]))
        num_dropped += chosen_on.num_dropped
    else:
        if not 0 < selection_fraction < 1:
            raise ValueError(f"selection_fraction is {selection_fraction}: it must be between 0 and 1")
        order = np.random.default_rng(seed).permutation(len(reported.masks))
        first, rest = np.split(order, [round(selection_fraction * len(order))])
        chosen_on, reported = reported.subset(np.sort(first)), reported.subset(np.sort(rest))
    if len(chosen_on.masks) < 1 or len(reported.masks) < 2:
        raise ValueError(
            f"{len(chosen_on.masks)} selection images and {len(reported.masks)} reported images are too few: "
            f"{num_dropped} were excluded because their mask is empty or full on the token grid"
        )
    scorer = _Scorer(chosen_on, reported)
    layer_auc: dict[str, np.ndarray] = {}
    layer_heads: dict[str, tuple[int, ...]] = {}
    selection_auc: dict[str, np.ndarray] = {}
    for name, model in models.items():
        depth, num_heads = len(model.blocks), model.config.num_heads
        for row, judged in ((name, model), (f"{name}_untrained", untrained_twin(model, seed))):
            on_selection, on_reported = chosen_on.maps(row, judged), reported.maps(row, judged)
            aucs = scorer.add(row, on_selection, on_reported)
            selection_auc[row] = aucs.reshape(depth, num_heads)
            if row == name:
                scorer.add_shuffled(row, on_reported)
            heads = selection_auc[row].argmax(axis=1)
            best = np.arange(depth) * num_heads + heads
            layer_auc[row] = rank_auc(_flat(on_reported.maps[best]), scorer.reported).mean(axis=-1)
            layer_heads[row] = tuple(heads.tolist())
            average = on_selection.maps.mean(axis=1, keepdims=True, dtype=np.float64)
            centred = [replace(some, maps=some.maps - average) for some in (on_selection, on_reported)]
            scorer.add(f"{row}_centred", *centred)
    prior = chosen_on.masks.mean(axis=0)
    scorer.add(
        "mean_mask_prior", *(of_prior(np.broadcast_to(prior, some.masks.shape)) for some in (chosen_on, reported))
    )
    for cue in _TRIVIAL:
        scorer.add(cue, chosen_on.cues[cue], reported.cues[cue])
    return SegmentationReport(
        models=tuple(models),
        auc=scorer.auc,
        miou=scorer.miou,
        layer_auc=layer_auc,
        layer_heads=layer_heads,
        selection_auc=selection_auc,
        num_selection=len(chosen_on.masks),
        num_reported=len(reported.masks),
        num_dropped=num_dropped,
        input_size=(images.shape[-2], images.shape[-1]),
        grid=grid,
    )
