"""Pictures of heads and animals for the eye: ``make gallery`` writes them into runs/gallery, which git ignores.

python benchmarks/gallery.py ../shared/data runs/gallery --checkpoint NAME_OR_FOLDER

The rule: of each set the first pictures in the order of their files are shown. The head (layer, head and sign by AUC,
size of the mask by mIoU) is chosen on 120 others, spread evenly over the rest. A map is the mean over nine shifts by
half a patch and their mirror images, which makes it finer than the patches; its brightest 3% and darkest 2% are cut.
Of birds, the first picture of each species is shown on which no head was chosen, with the three heads whose strongest
patch lies most often at one part in the other species.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, from_numpy

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import (
    Foregrounds,
    crop_foregrounds,
    crop_parts,
    normalise,
    open_part_samples,
    open_segmentation,
)
from crate_transformer.evaluation import MaskScore, attention_segmentation, part_pointing
from crate_transformer.inspection import attention_maps
from crate_transformer.models import Backbone
from crate_transformer.reports.gallery import gallery_figure, heads_and_animals_figure, parts_figure
from crate_transformer.reports.style import save_figure

SETS = {
    "pets": "cats and dogs",
    "animal_masks": "elephants, rhinos, birds, cows and sheep",
    "horses": "horses",
    "ecssd": "salient objects",
    "camo_animals": "camouflaged animals",
}
SHOWN, PARTS, CHOSEN_ON, SEED = 6, 3, 120, 0


def steady_maps(
    model: Backbone, pixels: UInt8[Tensor, "images 3 larger larger"], layer: int, side: int
) -> Float[np.ndarray, "heads images side side"]:
    """The maps of the middle ``side`` pixels, a mean over shifts by half a patch and mirror images."""
    step = (pixels.shape[-1] - side) // 2
    total, count = np.zeros((model.config.num_heads, len(pixels), side, side)), np.zeros((side, side))
    for top in (0, step, 2 * step):
        for left in (0, step, 2 * step):
            view = pixels[..., top : top + side, left : left + side]
            for mirrored in (False, True):
                inputs = normalise(view.flip(-1) if mirrored else view.contiguous(), model.preprocessing)
                maps = from_numpy(attention_maps(model, inputs, layers=[layer]).maps[:, 0])
                maps = F.interpolate(maps.flip(-1) if mirrored else maps, size=(side, side), mode="bicubic")
                whole = np.zeros((*total.shape[:2], *pixels.shape[-2:]))
                whole[..., top : top + side, left : left + side] = maps.swapaxes(0, 1).numpy()
                there = np.zeros(pixels.shape[-2:])
                there[top : top + side, left : left + side] = 1
                total += whole[..., step : step + side, step : step + side]
                count += there[step : step + side, step : step + side]
    return total / count


def chosen_head(model: Backbone, others: Foregrounds) -> tuple[MaskScore, MaskScore]:
    """The best head and sign by AUC, and the best size of a mask, on half of the other pictures, with their scores on
    the rest."""
    images = normalise(others.pixels, model.preprocessing)
    parts = images, others.masks, others.pixels
    report = attention_segmentation({"model": model}, *parts, undecided=others.undecided, signs=True, seed=SEED)
    return report.auc["model"], report.miou["model"]


def show_set(model: Backbone, folder: Path, name: str, side: int, output: Path) -> None:
    """Choose a head on other pictures of a set, and draw the first ones."""
    samples, patch = open_segmentation(folder), min(model.patch_size)
    rest = samples.names[SHOWN:]
    spread = tuple(rest[index * len(rest) // CHOSEN_ON] for index in range(min(CHOSEN_ON, len(rest))))
    others = crop_foregrounds(replace(samples, names=spread), side, coverage=(0.0, 1.0))
    chosen, masked = chosen_head(model, others)
    shown = crop_foregrounds(samples.first(SHOWN), side + patch, coverage=(0.0, 1.0)).pixels
    maps = steady_maps(model, shown, chosen.layer, side)
    border = patch // 2
    photographs = shown[..., border : border + side, border : border + side].permute(0, 2, 3, 1).numpy()
    head = chosen.sign * maps[chosen.head]
    title = f"{SETS[name]}: layer {chosen.layer}, head {chosen.head}" + ", inverted" * (chosen.sign < 0)
    note = (
        f"The first {SHOWN} of {len(samples)} pictures. The head was chosen on {len(spread)} others "
        f"(AUC {chosen.mean:.2f} on the half of them where it was not chosen)."
    )
    figure = gallery_figure(photographs, head, masked.fraction, title=title, note=note)
    save_figure(figure, output / f"{name}.png")
    names = [f"head {number}" for number in range(len(maps))]
    title = f"{SETS[name]}: all heads of layer {chosen.layer}"
    save_figure(heads_and_animals_figure(photographs, maps, names, title=title), output / f"{name}_heads.png")


def distinct_heads(accuracy: Float[np.ndarray, "layers heads parts"]) -> list[tuple[int, int, int]]:
    """Layer, head and part of the most accurate heads, each head and each part once."""
    left, chosen = np.nan_to_num(accuracy), []
    for _ in range(PARTS):
        layer, head, part = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        chosen.append((layer, head, part))
        left[layer, head], left[..., part] = 0, 0
    return chosen


def show_parts(model: Backbone, folder: Path, side: int, output: Path) -> None:
    """Choose heads for parts on one half of the species, and draw the first pictures of the other half."""
    samples = open_part_samples(folder)
    arrays = crop_parts(samples.spread(CHOSEN_ON), samples.parts, side)
    found = part_pointing(model, arrays, seed=SEED)
    chosen = distinct_heads(found.selection_accuracy)
    first = [arrays.groups.index(group) for group in found.reported_groups][:SHOWN]
    shown = arrays.pixels[first]
    maps = attention_maps(model, normalise(shown, model.preprocessing)).maps
    heads = np.stack([maps[:, layer, head] for layer, head, _ in chosen])
    names = [f"layer {layer}, head {head}: {arrays.parts[part]}" for layer, head, part in chosen]
    right = ", ".join(f"{arrays.parts[part]} {found.accuracy[layer, head, part]:.0%}" for layer, head, part in chosen)
    note = (
        f"Circle: the strongest patch. Cross: the part. The heads were chosen on {len(found.selection_groups)} other "
        f"species; in the pictures of these species the circle is at the part as often as: {right}."
    )
    points = arrays.points[first][:, [part for _, _, part in chosen]]
    photographs = shown.permute(0, 2, 3, 1).numpy()
    figure = parts_figure(photographs, heads, points, names, title="birds: heads and parts", note=note)
    save_figure(figure, output / "cub_parts.png")


def main() -> None:
    """Draw every set that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the sets, " + ", ".join(SETS))
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint", default="crate_mini_patch8_64.tiny_imagenet_100")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, "cub_parts"], default=[*SETS, "cub_parts"])
    arguments = parser.parse_args()
    logging.getLogger("crate_transformer.data").setLevel(logging.ERROR)
    model = load_checkpoint(arguments.checkpoint)
    for name in arguments.sets:
        folder = arguments.data / name / "open"
        if name in SETS:
            show_set(model, folder, name, arguments.side, arguments.output)
        else:
            show_parts(model, folder, arguments.side, arguments.output)
        print(arguments.output / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
