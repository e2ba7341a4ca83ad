"""Maps that compete to mark the objects: every head of a model, and the cues that know nothing of objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from crate_transformer.data import normalise
from crate_transformer.inspection import attention_maps
from crate_transformer.models import Preprocessing

CUES = ("mean_mask_prior", "brightness", "contrast")
_LUMINANCE = (0.299, 0.587, 0.114)
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Non-negative maps of each image, and the choice (layer and head, or sign) that each of them stands for."""

    maps: Float[np.ndarray, "candidates images rows columns"]
    choices: tuple[dict[str, int | float], ...]

    def of_layer(self, layer: int) -> "Candidates":
        """Those of one layer, where there are layers."""
        kept = [index for index, choice in enumerate(self.choices) if choice.get("layer", layer) == layer]
        return Candidates(maps=self.maps[kept], choices=tuple(self.choices[index] for index in kept))


def of_model(model: nn.Module, pixels: UInt8[Tensor, "images 3 height width"]) -> Candidates:
    """The class token's attention in every layer and head, in batches."""
    preprocessing = getattr(model, "preprocessing", Preprocessing())
    seen = [attention_maps(model, normalise(batch, preprocessing)) for batch in pixels.split(_BATCH)]
    maps = np.concatenate([part.maps for part in seen])
    if not np.isfinite(maps).all():
        raise ValueError("attention is not finite: the weights or the images hold NaN or infinity")
    choices = tuple({"layer": layer, "head": head} for layer in seen[0].layers for head in seen[0].heads)
    return Candidates(maps=rearrange(maps, "i l h r c -> (l h) i r c"), choices=choices)


def of_cues(
    pixels: UInt8[Tensor, "images 3 height width"],
    covered: Float[np.ndarray, "images rows columns"],
    fold: Int[np.ndarray, " images"],
) -> dict[str, Candidates]:
    """For each of ``CUES`` its maps: the mean of ``covered`` over the images of the other folds, and of each patch the
    mean and the standard deviation of its luminance, large values first and small ones first."""
    rows, columns = covered.shape[1:]
    prior = np.stack([covered[fold != number].mean(axis=0) for number in fold])
    luminance = torch.einsum("n c h w, c -> n h w", pixels.float(), torch.tensor(_LUMINANCE))
    patches = rearrange(luminance, "n (r h) (c w) -> n r c (h w)", r=rows, c=columns).numpy()
    found = {"mean_mask_prior": Candidates(maps=prior[None], choices=({},))}
    for name, cue in (("brightness", patches.mean(axis=-1)), ("contrast", patches.std(axis=-1))):
        found[name] = Candidates(maps=np.stack([cue, cue.max() - cue]), choices=({"sign": 1}, {"sign": -1}))
    return found


def halves(count: int, seed: int) -> Int[np.ndarray, " images"]:
    """Each image's fold, 0 or 1, at random: what is chosen for one half is chosen on the other.

    Raises:
        ValueError: there are fewer than four images.
    """
    if count < 4:
        raise ValueError(
            f"{count} images with a mask are too few: choosing on one half and reporting the other needs 4"
        )
    return np.random.default_rng(seed).permutation(count) % 2


def cross_fit(
    scores: Float[np.ndarray, "candidates images"], fold: Int[np.ndarray, " images"]
) -> Int[np.ndarray, " images"]:
    """For each image the candidate with the best mean score on the images of the other fold."""
    best = [int(scores[:, fold != number].mean(axis=1).argmax()) for number in (0, 1)]
    return np.array(best)[fold]


def shifts(count: int) -> range:
    """By how many places the images are moved against their masks for the control with the masks of other images."""
    return range(1, min(6, count))


def choices_made(
    choices: Sequence[dict[str, int | float]], chosen: Int[np.ndarray, " images"]
) -> list[dict[str, int | float]]:
    """What was chosen, each once."""
    return [choices[index] for index in sorted(set(chosen.tolist()))]


def on_grid(masks: Bool[Tensor, "masks height width"], grid: tuple[int, int]) -> Bool[np.ndarray, "masks rows columns"]:
    """The patches that each mask covers by more than half."""
    patch = masks.shape[-2] // grid[0], masks.shape[-1] // grid[1]
    covered = torch.nn.functional.avg_pool2d(masks[:, None].float(), kernel_size=patch)[:, 0]
    return (covered > 0.5).numpy()
