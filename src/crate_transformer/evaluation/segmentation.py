"""Segmentation of objects by the class token's attention, without segmentation labels in training."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from crate_transformer.evaluation.candidates import TRIVIAL, Candidates, of_prior
from crate_transformer.evaluation.mask_scorer import Scorer, usable_images
from crate_transformer.evaluation.scores import MaskScore
from crate_transformer.inspection import untrained_twins
from crate_transformer.inspection.agreement import rank_auc
from crate_transformer.models import Backbone

_CUES = ("mean_mask_prior", *TRIVIAL)


@dataclass(frozen=True, kw_only=True)
class SegmentationReport:
    """Agreement of attention with object masks on the token grid, with all controls, on the reported images.

    Rows of ``auc`` and ``miou`` for each model ``m``: ``m``; ``m_untrained``, the highest score of five random
    initialisations; ``m_shuffled``, the map chosen for ``m`` against the masks of all *other* images (mean);
    ``m_centred`` and ``m_untrained_centred``, after subtracting each head's mean map over the selection images. Further
    rows: ``mean_mask_prior``, the mean selection mask for every image; ``brightness`` and ``contrast``, mean and
    standard deviation of each patch's luminance; ``median_difference``, the absolute difference of the brightness from
    that of the image's median patch. ``layer_auc`` is the AUC of each layer's best head for ``m`` and the
    ``m_untrained`` with the highest AUC, and ``layer_heads`` are these heads; ``selection_auc`` is the AUC of each
    layer and head on the selection images, used for the choice. Images whose mask is empty or full on the grid are
    excluded: ``num_dropped``.
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

    def chosen_head(self, row: str) -> tuple[int, int]:
        """Layer and head of the map that was chosen for this row by AUC.

        Raises:
            ValueError: it is a cue without layers and heads.
        """
        score = self.auc[row]
        if score.layer is None or score.head is None:
            raise ValueError(f"{row} has no layers and heads")
        return score.layer, score.head

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


def _common_grid(models: dict[str, Backbone], images: Tensor) -> tuple[int, int]:
    grids = {name: model.grid_size(*images.shape[-2:]) for name, model in models.items()}
    if len(set(grids.values())) != 1:
        found = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in grids.items()) or "no model"
        raise ValueError(f"attention is compared on one token grid, but there are {found}: evaluate them separately")
    return next(iter(grids.values()))


def attention_segmentation(
    models: dict[str, Backbone],
    images: Float[Tensor, "images 3 height width"],
    masks: Bool[Tensor, "masks mask_height mask_width"],
    pixels: UInt8[Tensor, "pixels 3 pixel_height pixel_width"],
    *,
    undecided: Bool[Tensor, "masks mask_height mask_width"] | None = None,
    selection: tuple[Tensor, ...] | None = None,
    selection_fraction: float = 0.5,
    signs: bool = False,
    maps: Iterable[Candidates] | None = None,
    seed: int = 0,
    show: bool = False,
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
        undecided: pixels that are not scored: a patch counts if half of it is decided, and belongs to the mask if this
            covers more than half of what is decided.
        selection: separate ``(images, masks, pixels)`` or ``(images, masks, pixels, undecided)`` for the choices; all
            of ``images`` are then reported.
        selection_fraction: without ``selection``, the fraction of the images for the choices, drawn with ``seed``.
        signs: every head and every control may also be inverted, if that is better on the selection images.
        maps: of one model, without ``selection``: the result of ``attention_with_controls`` for these images, if it is
            there.
        seed: also the seed of the untrained models.

    Raises:
        ValueError: sizes do not match, maps are given for several models or with ``selection``, there is no usable
            selection image or fewer than two reported ones, or the outputs of a model are not finite.
    """
    grid = _common_grid(models, images)
    if maps is not None and (selection is not None or len(models) > 1):
        raise ValueError("maps are of one model and of the images: leave them out for several models or with selection")
    reported = usable_images(grid, images, masks, pixels, undecided)
    num_dropped = reported.num_dropped
    if selection is not None:
        chosen_on = usable_images(_common_grid(models, selection[0]), *selection)
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
    scorer = Scorer(chosen_on, reported, signs=signs)
    layer_auc: dict[str, np.ndarray] = {}
    layer_heads: dict[str, tuple[int, ...]] = {}
    selection_auc: dict[str, np.ndarray] = {}
    for name, model in models.items():
        depth, num_heads = len(model.blocks), model.config.num_heads
        rows = chain([name], repeat(f"{name}_untrained"))
        if maps is None:
            judged = zip(rows, chain([model], untrained_twins(model, seed, show=show)), strict=False)
            seen = ((row, chosen_on.maps(row, each), reported.maps(row, each)) for row, each in judged)
        else:
            given = zip(rows, maps, strict=False)
            seen = ((row, some.on(chosen_on.index), some.on(reported.index)) for row, some in given)
        for row, on_selection, on_reported in seen:
            before = scorer.auc.get(row)
            aucs = scorer.add(row, on_selection, on_reported, shuffle=row == name)
            average = on_selection.maps.mean(axis=1, keepdims=True, dtype=np.float64)
            centred = [replace(some, maps=some.maps - average) for some in (on_selection, on_reported)]
            scorer.add(f"{row}_centred", *centred)
            if scorer.auc[row] is before:
                continue
            selection_auc[row] = aucs.reshape(depth, num_heads)
            heads = selection_auc[row].argmax(axis=1)
            best = np.arange(depth) * num_heads + heads
            best_maps = on_reported.maps[best].reshape(depth, len(reported.masks), -1)
            layer_auc[row] = rank_auc(best_maps, scorer.reported, scorer.scored).mean(axis=-1)
            layer_heads[row] = tuple(heads.tolist())
    counted = len(chosen_on.masks) if chosen_on.scored is None else chosen_on.scored.sum(axis=0).clip(min=1)
    prior = chosen_on.masks.sum(axis=0) / counted
    scorer.add(
        "mean_mask_prior", *(of_prior(np.broadcast_to(prior, some.masks.shape)) for some in (chosen_on, reported))
    )
    for cue in TRIVIAL:
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
