"""Which head marks which part: whether the strongest patch of a head lies at the part, with controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import nn

from crate_transformer.data import PartArrays, normalise
from crate_transformer.evaluation.candidates import Candidates, of_model
from crate_transformer.evaluation.comparison import Choices, Comparison, compare
from crate_transformer.evaluation.part_places import (
    RADIUS,
    patches_at,
    patches_of_parts,
    places_in_boxes,
    visible_parts,
)
from crate_transformer.inspection import head_summary, preprocessing_of, untrained_twins
from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class PartPointing:
    """Pointing accuracy of attention heads: the fraction of the images with a visible part in which the strongest patch
    of the head lies at the part.

    A patch lies at a point if the distance of its centre is at most ``RADIUS`` of the longer side of the object's box,
    and at a region if it shares a pixel with it. For each part, the head with the best accuracy on one half of the
    species is reported on the other half. Rows of ``measures[part]``: ``model``; ``untrained``, the highest of five
    random initialisations, and, if given, ``baseline``, each with its own best head; ``position_prior``, the patch at
    the part's mean place in the object's box on the chosen half, put into the box of each image; ``shuffled``, the
    strongest patches against the same part in all images of other species. Standard errors are over species.
    ``accuracy`` and ``selection_accuracy`` are those of every head of the model on both halves, NaN where a part is
    never visible; ``by_group[part]`` is the accuracy of the rows on each reported species (empty if every image is a
    group of its own); ``consistency[part]`` is how similar the content is that the head attends to in the reported
    images, see ``head_summary`` (``untrained``: one of the five). ``skipped`` parts are visible in no image of the one
    half or in fewer than two species of the other.
    """

    measures: dict[str, Comparison]
    by_group: dict[str, dict[str, dict[str, float]]]
    consistency: dict[str, dict[str, float]]
    selection_accuracy: Float[np.ndarray, "layers heads parts"]
    accuracy: Float[np.ndarray, "layers heads parts"]
    parts: tuple[str, ...]
    skipped: tuple[str, ...]
    selection_groups: tuple[str, ...]
    reported_groups: tuple[str, ...]
    num_selection: dict[str, int]
    num_reported: dict[str, int]
    kind: str
    input_size: tuple[int, int]
    grid: tuple[int, int]
    seed: int

    def species_above(self, part: str, control: str = "position_prior") -> tuple[int, int]:
        """On how many of the reported species the head is more accurate than a control, and their number."""
        groups = self.by_group.get(part, {}).values()
        return sum(rows["model"] > rows[control] for rows in groups), len(groups)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the rules."""
        points = f"the centre of the patch is within {RADIUS} of the longer side of the object's box from the part"
        names = (
            "by_group", "consistency", "selection_accuracy", "accuracy", "skipped", "selection_groups",
            "reported_groups", "num_selection", "num_reported", "input_size", "grid", "seed",
        )  # fmt: skip
        return {
            "measures": {part: measure.to_dict() for part, measure in self.measures.items()},
            "hit_rule": points if self.kind == "points" else "the patch shares a pixel with the region of the part",
            "choice_rule": "for each part and row, the best layer and head on the selection species",
            "above_rule": "the mean difference, paired over images, is more than `limit` standard errors over species",
            "parts": self.parts,
            **{name: getattr(self, name) for name in names},
        }


def part_pointing(
    model: Backbone,
    arrays: PartArrays,
    *,
    baseline: nn.Module | None = None,
    untrained: Sequence[Backbone] | None = None,
    seed: int = 0,
    show: bool = False,
) -> PartPointing:
    """Measure which head of a model points at which part.

    Args:
        arrays: from ``crop_parts``, with a size that is a multiple of the patch size.
        baseline: another model to compare with, such as a ViT; its token grid may differ.
        untrained: the controls; default: ``untrained_twins(model, seed)``.
        seed: also of the division of the species into halves.

    Raises:
        ValueError: there are fewer than three species, or no part is visible on both halves.
    """
    models: dict[str, nn.Module] = {"model": model} | ({} if baseline is None else {"baseline": baseline})
    maps = {row: of_model(judged, arrays.pixels, preprocessing_of(judged)) for row, judged in models.items()}
    twins = list(untrained or untrained_twins(model, seed, show=show))
    peaks = {row: _strongest(found) for row, found in maps.items()}
    tables = {row: patches_of_parts(arrays, found.maps.shape[-2:]) for row, found in maps.items()}
    visible = visible_parts(arrays, tables["model"])
    selected = _selected(arrays.groups, seed)
    hits = {row: [_hits(tables[row], peaks[row])] for row in models}
    blind = (of_model(twin, arrays.pixels, preprocessing_of(model)) for twin in twins)
    hits["untrained"] = [_hits(tables["model"], _strongest(found)) for found in blind]
    places, groups = places_in_boxes(arrays), np.array(arrays.groups)
    measures, by_group, numbers = {}, {}, {}
    several = len(set(arrays.groups)) < len(arrays.groups)
    for part, name in enumerate(arrays.parts):
        chosen_on, reported = (np.flatnonzero(visible[:, part] & half) for half in (selected, ~selected))
        species = groups[reported]
        if not len(chosen_on) or len(set(species)) < 2:
            continue
        rows: dict[str, np.ndarray] = {}
        best: dict[str, int] = {}
        for row, each in hits.items():
            heads = [int(some[:, chosen_on, part].mean(axis=1).argmax()) for some in each]
            found = [some[head, reported, part].astype(float) for some, head in zip(each, heads, strict=True)]
            highest = int(np.argmax([values.mean() for values in found]))
            best[row], rows[row] = heads[highest], found[highest]
        table = tables["model"][:, part].reshape(len(visible), -1)
        prior = patches_at(places[chosen_on, part].mean(axis=0), arrays, maps["model"].maps.shape[-2:])
        rows["position_prior"] = table[reported, prior[reported]].astype(float)
        mine = peaks["model"][best["model"]][reported]
        others = species[:, None] != species
        rows["shuffled"] = (table[reported][:, mine] & others).sum(axis=0) / others.sum(axis=0)
        choices: dict[str, Choices] = {row: (maps.get(row, maps["model"]).choices[i],) for row, i in best.items()}
        measures[name] = compare(rows, choices, species)
        by_group |= {name: _by_group(rows, species)} if several else {}
        numbers[name] = len(chosen_on), len(reported)
    if not measures:
        raise ValueError("no part is visible on both halves of the images: give more images")
    layers = 1 + max(choice["layer"] for choice in maps["model"].choices)
    halves = [_accuracies(hits["model"][0], visible, half, layers) for half in (selected, ~selected)]
    group_halves = [tuple(sorted({arrays.groups[i] for i in np.flatnonzero(half)})) for half in (selected, ~selected)]
    return PartPointing(
        measures=measures,
        by_group=by_group,
        consistency=_consistency(model, twins[0], arrays, ~selected, measures),
        selection_accuracy=halves[0],
        accuracy=halves[1],
        parts=arrays.parts,
        skipped=tuple(part for part in arrays.parts if part not in measures),
        selection_groups=group_halves[0],
        reported_groups=group_halves[1],
        num_selection={part: number for part, (number, _) in numbers.items()},
        num_reported={part: number for part, (_, number) in numbers.items()},
        kind="regions" if arrays.points is None else "points",
        input_size=(arrays.pixels.shape[-2], arrays.pixels.shape[-1]),
        grid=tuple(maps["model"].maps.shape[-2:]),
        seed=seed,
    )


def _strongest(found: Candidates) -> Int[np.ndarray, "candidates images"]:
    return found.maps.reshape(*found.maps.shape[:2], -1).argmax(axis=-1)


def _hits(
    table: Bool[np.ndarray, "images parts rows columns"], peaks: Int[np.ndarray, "candidates images"]
) -> Bool[np.ndarray, "candidates images parts"]:
    flat = rearrange(table, "i p r c -> i (r c) p")
    return flat[np.arange(len(flat)), peaks]


def _selected(groups: tuple[str, ...], seed: int) -> Bool[np.ndarray, " images"]:
    """The images of one half of the groups."""
    names = sorted(set(groups))
    if len(names) < 3:
        raise ValueError(
            f"the species are only {' and '.join(names)}: choosing heads on some and reporting on others needs three"
        )
    half = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    return np.isin(groups, half)


def _by_group(rows: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, dict[str, float]]:
    return {
        str(group): {row: float(values[groups == group].mean()) for row, values in rows.items()}
        for group in np.unique(groups)
    }


def _consistency(
    model: Backbone, twin: Backbone, arrays: PartArrays, reported: np.ndarray, measures: Mapping[str, Comparison]
) -> dict[str, dict[str, float]]:
    """Of the content that the chosen heads attend to, with the controls of ``head_summary``."""
    images = arrays.pixels[torch.from_numpy(reported)]
    if len(images) < 2:
        return {}
    chosen = {part: measure.rows["model"].choices[0] for part, measure in measures.items()}
    inputs = normalise(images, preprocessing_of(model))
    layers = {choice["layer"] for choice in chosen.values()}
    seen = {layer: head_summary(model, inputs, layer=layer, untrained=twin) for layer in layers}
    return {
        part: {
            "model": float(seen[choice["layer"]].consistency[choice["head"]]),
            "untrained": float(seen[choice["layer"]].untrained_consistency[choice["head"]]),
            "shuffled": float(seen[choice["layer"]].shuffled_consistency[choice["head"]]),
        }
        for part, choice in chosen.items()
    }


def _accuracies(hits: np.ndarray, visible: np.ndarray, half: np.ndarray, layers: int) -> np.ndarray:
    shown = visible & half[:, None]
    counts = np.where(shown.any(axis=0), shown.sum(axis=0), np.nan)
    return rearrange((hits & shown).sum(axis=1) / counts, "(l h) p -> l h p", l=layers)
