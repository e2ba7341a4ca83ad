"""The tables of ``crate evaluate --segmentation`` and ``--boxes``."""

from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.models import Backbone

CALLED = {
    "model": "the model",
    "untrained": "untrained model",
    "shuffled": "masks of other images",
    "mean_mask_prior": "mean-mask prior",
    "brightness": "brightness",
    "contrast": "contrast",
}


def segmentation_tables(
    model: "Backbone",
    folder: Path,
    *,
    size: int | None,
    maskcut_size: int,
    layer: int,
    limit: int | None,
) -> dict[str, object]:
    """Print and return attention mIoU and, if the data separates objects, MaskCut's AP, both with controls.

    Args:
        size: image size for attention; default: twice the training size.
        maskcut_size: image size for MaskCut; 0 skips it.
    """
    from crate_transformer.data import open_segmentation, resize_and_centre_crop
    from crate_transformer.evaluation import attention_miou, maskcut_average_precision
    from crate_transformer.progress import tracked
    from crate_transformer.reports.table import print_table

    samples = open_segmentation(folder).first(limit)
    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    found = attention_miou(model, resize_and_centre_crop(tracked("images", samples, len(samples)), side), layer=layer)
    columns = ["", "best head, entries", "best head, mass", "fixed head, entries", "fixed head, mass"]
    tables = [
        found.best_head["entries"],
        found.best_head["mass"],
        found.fixed_head["entries"],
        found.fixed_head["mass"],
    ]
    rows = [[text, *(table[row].mean for table in tables)] for row, text in CALLED.items()]
    print_table(columns, rows, f"Attention mIoU, {found.num_images} images, {side} x {side} pixels, "
                f"top {found.fraction:.0%}")  # fmt: skip
    say(
        f"best head: layer {found.layer}, the head that fits best for each class of each image; fixed head: layer and "
        f"head chosen on the other half of the images ({chosen(found.fixed_head['entries']['model'].choices)}; "
        f"{chosen(found.fixed_head['mass']['model'].choices)})"
    )
    if found.num_dropped:
        say(f"{found.num_dropped} images were skipped: none of their classes covers more than half a patch")
    results: dict[str, object] = {"data": str(folder), "attention_miou": found.to_dict()}
    if maskcut_size and samples.has_objects:
        side = whole_patches(model, maskcut_size)
        cuts = maskcut_average_precision(model, tracked("MaskCut", samples, len(samples)), size=side, layer=layer)
        kinds = [(kind, name) for kind in ("box", "mask") for name in ("ap50", "ap75", "ap")]
        rows = [
            [text, *(100 * getattr(cuts.rows[row][kind], name) for kind, name in kinds)] for row, text in CALLED.items()
        ]
        titles = ["", *(f"{kind} {name.upper()}" for kind, name in kinds)]
        print_table(titles, rows, f"MaskCut, class-agnostic AP in percent, {cuts.num_images} images, {side} x {side} "
                    f"pixels, layer {cuts.layer}, tau {cuts.tau}, {cuts.num_masks} objects")  # fmt: skip
        results["maskcut"] = cuts.to_dict()
    elif maskcut_size:
        say(f"{folder} does not separate single objects: average precision was not computed")
    return results


def box_tables(
    model: "Backbone", container: Path, boxes: Path, *, size: int | None, limit: int | None
) -> dict[str, object]:
    """Print and return CorLoc of attention against labelled boxes, with controls."""
    import numpy as np
    import torch.nn.functional as F

    from crate_transformer.data.boxes import boxed_pictures
    from crate_transformer.evaluation import corloc
    from crate_transformer.reports.table import print_table

    pixels, edges = boxed_pictures(container, boxes, limit=limit)
    kept = np.flatnonzero((edges[:, 2:] > edges[:, :2]).all(axis=1))
    if len(kept) < len(edges):
        say(f"{len(edges) - len(kept)} boxes of zero area were skipped")
    pixels, edges = pixels[kept], edges[kept]
    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    height, width = pixels.shape[-2:]
    larger = F.interpolate(pixels.float(), size=(side, side), mode="bilinear", antialias=True)
    scale = np.array([side / width, side / height] * 2)
    found = corloc(model, larger.round().clamp(0, 255).byte(), edges * scale, show=True)
    rows = [[text, found.rows[row].corloc, found.rows[row].mean_iou] for row, text in CALLED.items()]
    print_table(
        ["", "CorLoc", "mean IoU"], rows, f"Boxes from attention, {found.num_images} images, {side} x {side} pixels"
    )
    say(f"layer, head and threshold chosen on the other half of the images: {chosen(found.rows['model'].choices)}")
    return {"data": str(container), "boxes": str(boxes), "corloc": found.to_dict()}


def whole_patches(model: "Backbone", side: int) -> int:
    """The nearest multiple of the patch size."""
    import math

    patch = math.lcm(*model.patch_size)
    if side < patch:
        raise ValueError(f"an image size of {side} pixels is less than one patch of {patch}")
    return round(side / patch) * patch


def chosen(choices: tuple[dict, ...]) -> str:
    """Choices in words."""
    return " and ".join(", ".join(f"{name} {value}" for name, value in choice.items()) for choice in choices)
