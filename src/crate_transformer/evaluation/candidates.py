"""Candidate maps for segmenting objects: every head of a model, and trivial cues."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from crate_transformer.data import normalise
from crate_transformer.inspection import attention_maps, patch_luminance, preprocessing_of, untrained_twins
from crate_transformer.models import Preprocessing
from crate_transformer.progress import tracked

TRIVIAL = ("brightness", "contrast", "median_difference")
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Non-negative maps of each image, and the choice (layer and head, or sign) of each candidate."""

    maps: Float[np.ndarray, "candidates images rows columns"]
    choices: tuple[Mapping[str, Any], ...]

    def on(self, images: Int[np.ndarray, " some"]) -> "Candidates":
        """The same candidates for some of the images."""
        return replace(self, maps=self.maps[:, images])


def of_model(
    model: nn.Module,
    pixels: UInt8[Tensor, "images 3 height width"],
    preprocessing: Preprocessing,
    *,
    show: bool = False,
) -> Candidates:
    """The class token's attention in every layer and head, computed in batches of images."""
    batches = pixels.split(_BATCH)
    batches = tracked("batches of images", batches, len(batches), show=show)
    return of_batches(model, (normalise(batch, preprocessing) for batch in batches))


def of_batches(
    model: nn.Module, batches: Iterable[Float[Tensor, "_images channels height width"]], name: str = "the model"
) -> Candidates:
    """The class token's attention in every layer and head, for batches of preprocessed images."""
    seen = [attention_maps(model, batch) for batch in batches]
    maps = np.concatenate([part.maps for part in seen])
    if not np.isfinite(maps).all():
        raise ValueError(f"the attention of {name} is not finite: its weights or the images contain NaN or infinity")
    choices = tuple({"layer": layer, "head": head} for layer in seen[0].layers for head in seen[0].heads)
    return Candidates(maps=rearrange(maps, "i l h r c -> (l h) i r c"), choices=choices)


def attention_with_controls(
    model: nn.Module,
    pixels: UInt8[Tensor, "images 3 height width"],
    *,
    untrained: Iterable[nn.Module] | None = None,
    seed: int = 0,
    show: bool = False,
) -> Iterator[Candidates]:
    """Attention of a model, then of each control: ``untrained``, or ``untrained_twins(model, seed)``."""
    preprocessing = preprocessing_of(model)
    yield of_model(model, pixels, preprocessing, show=show)
    for control in untrained or untrained_twins(model, seed, show=show):
        yield of_model(control, pixels, preprocessing)


def both_signs(candidates: Candidates) -> Candidates:
    """Every candidate, then every candidate inverted, since a head may mark the background; unchanged if the candidates
    have signs."""
    if "sign" in candidates.choices[0]:
        return candidates
    inverted = candidates.maps.max(axis=(-2, -1), keepdims=True) - candidates.maps
    choices = tuple({**choice, "sign": sign} for sign in (1, -1) for choice in candidates.choices)
    return Candidates(maps=np.concatenate([candidates.maps, inverted]), choices=choices)


def of_prior(means: Float[np.ndarray, "images rows columns"]) -> Candidates:
    """The mean-mask prior: for each image, a mean mask of other images."""
    return Candidates(maps=means[None], choices=({},))


def of_cues(pixels: UInt8[Tensor, "images 3 height width"], grid: tuple[int, int]) -> dict[str, Candidates]:
    """Trivial cues of each patch without a model, each with both signs.

    ``brightness`` and ``contrast`` are the mean and the standard deviation of the luminance of a patch;
    ``median_difference`` is the absolute difference of its brightness from that of the median patch of the image.
    """
    patches = patch_luminance(pixels, grid)
    brightness = patches.mean(axis=-1)
    cues = {
        "brightness": brightness,
        "contrast": patches.std(axis=-1),
        "median_difference": np.abs(brightness - np.median(brightness, axis=(1, 2), keepdims=True)),
    }
    return {name: both_signs(Candidates(maps=cues[name][None], choices=({},))) for name in TRIVIAL}


def means_of_others(
    covered: Float[np.ndarray, "images rows columns"], fold: Int[np.ndarray, " images"]
) -> Float[np.ndarray, "images rows columns"]:
    """For each image, the mean over the images of the other fold."""
    return np.stack([covered[fold != number].mean(axis=0) for number in fold])


def halves(count: int, seed: int) -> Int[np.ndarray, " images"]:
    """A random fold, 0 or 1, for each image: choices for one half are made on the other.

    Raises:
        ValueError: there are fewer than four images.
    """
    if count < 4:
        raise ValueError(
            f"{count} images with a mask are too few: choosing on one half and evaluating on the other needs at least 4"
        )
    return np.random.default_rng(seed).permutation(count) % 2


def cross_fit(
    scores: Float[np.ndarray, "candidates images"], fold: Int[np.ndarray, " images"]
) -> Int[np.ndarray, " images"]:
    """For each image, the candidate with the best mean score on the images of the other fold."""
    best = [int(scores[:, fold != number].mean(axis=1).argmax()) for number in (0, 1)]
    return np.array(best)[fold]


def shifts(count: int) -> range:
    """Shifts of the images relative to their masks, for the control with masks of other images."""
    return range(1, min(6, count))


def choices_made(choices: Sequence[Mapping[str, Any]], chosen: Int[np.ndarray, " images"]) -> list[Mapping[str, Any]]:
    """The distinct choices."""
    return [choices[index] for index in sorted(set(chosen.tolist()))]
