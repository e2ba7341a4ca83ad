"""Pictures of heads and animals for the eye: ``make gallery`` writes them into runs/gallery, which git ignores.

python benchmarks/gallery.py ../shared/data runs/gallery --checkpoint NAME_OR_FOLDER

The rule: of each set the first pictures in the order of their files are shown. The head (layer, head and sign by AUC,
size of the mask by mIoU) is chosen on 120 others, spread evenly over the rest. A map is the mean over nine shifts by
half a patch and their mirror images, which makes it finer than the patches; its brightest 3% and darkest 2% are cut.
Of birds, cars and pets with parts, the head whose strongest patch lies most often at one part is chosen on half of the
species (or pictures); shown are the first pictures of each other species in which the part is visible.
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
PART_SETS = {"cub_parts": "birds", "car_parts": "cars", "pets": "cats and dogs"}
PART_CONTROLS = {"untrained": "untrained", "position_prior": "mean place", "shuffled": "parts of other pictures"}
SHOWN, CHOSEN_ON, SEEN, SEED = 6, 120, 15, 0


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


def show_parts(model: Backbone, folder: Path, name: str, side: int, output: Path) -> None:
    """Choose the head that points best at a part on half of the species, and draw the first pictures of the others."""
    samples = open_part_samples(folder)
    arrays = crop_parts(samples.spread(CHOSEN_ON), samples.parts, side)
    found = part_pointing(model, arrays, seed=SEED)
    often = [found.num_selection.get(part, 0) >= SEEN for part in arrays.parts]
    accuracy = np.where(often, found.selection_accuracy, 0)
    layer, head, part = (int(index) for index in np.unravel_index(accuracy.argmax(), accuracy.shape))
    visible = (
        ~np.isnan(arrays.points[:, part, 0]) if arrays.regions is None else arrays.regions[:, part].any(axis=(1, 2))
    )
    groups = arrays.groups
    reported = [index for index in np.flatnonzero(visible) if groups[index] in found.reported_groups]
    first = sorted(reported, key=lambda index: (groups[:index].count(groups[index]), index))[:SHOWN]
    shown = arrays.pixels[first]
    maps = attention_maps(model, normalise(shown, model.preprocessing), layers=[layer], heads=[head]).maps[:, 0, 0]
    rows = found.measures[arrays.parts[part]].rows
    others = ", ".join(f"{rows[row].mean:.0%} ({text})" for row, text in PART_CONTROLS.items())
    where = "other species" if found.by_group else "other pictures"
    note = (
        f"Circle: the strongest patch. It is at the part in {rows['model'].mean:.0%} of the pictures; controls: "
        f"{others}. The head was chosen on {where}."
    )
    figure = parts_figure(
        shown.permute(0, 2, 3, 1).numpy(),
        maps,
        None if arrays.points is None else arrays.points[first, part],
        None if arrays.regions is None else arrays.regions[first, part],
        title=f"{PART_SETS[name]}: layer {layer}, head {head} and the {arrays.parts[part].replace('_', ' ')}",
        note=note,
    )
    save_figure(figure, output / f"parts_{PART_SETS[name].split()[0]}.png")


def main() -> None:
    """Draw every set that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the sets, " + ", ".join(SETS))
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint", default="crate_compact_patch8_64.tiny_imagenet_100_caltech")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    names = list(dict.fromkeys([*SETS, *PART_SETS]))
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    logging.getLogger("crate_transformer.data").setLevel(logging.ERROR)
    model = load_checkpoint(arguments.checkpoint)
    for name in arguments.sets:
        folder = arguments.data / name / "open"
        for kinds, show in ((SETS, show_set), (PART_SETS, show_parts)):
            if name in kinds:
                show(model, folder, name, arguments.side, arguments.output)
        print(f"{arguments.output}: {name}", flush=True)


if __name__ == "__main__":
    main()
