"""The tables of ``crate evaluate --segmentation`` and ``--boxes``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.evaluation import Emergence, PartPointing
    from crate_transformer.models import Backbone
    from crate_transformer.reports import Table


def segmentation_tables(
    model: "Backbone",
    folders: Sequence[Path],
    *,
    size: int | None,
    maskcut_size: int,
    layer: int,
    limit: int | None,
    seed: int,
) -> "dict[str, Emergence]":
    """Measure the model on every set of images with masks, with controls, and print the tables.

    Args:
        folders: sets, or folders that contain sets.
        size: image size for attention; default: twice the training size.
        maskcut_size: image size for MaskCut; 0 skips it.
    """
    from crate_transformer.data import find_segmentation, open_segmentation
    from crate_transformer.evaluation import emergence
    from crate_transformer.reports.emergence import emergence_tables, statements

    sets: dict[str, Path] = {}
    for folder in folders:
        for name, path in find_segmentation(folder).items():
            sets[str(path) if name in sets else name] = path
    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    cut_side = whole_patches(model, maskcut_size) if maskcut_size else 0
    found = {}
    for name, path in sets.items():
        samples = open_segmentation(path).first(limit)
        options = {"size": side, "maskcut_size": cut_side, "layer": layer, "seed": seed}
        found[name] = emergence(model, samples, **options, show=True)
        show_tables(emergence_tables(name, found[name]), statements(found[name]))
    return found


def part_tables(
    model: "Backbone",
    folders: Sequence[Path],
    *,
    baseline: "Backbone | None",
    size: int | None,
    limit: int | None,
    seed: int,
) -> "dict[str, PartPointing]":
    """Measure which head marks which part on every set of images with parts, with controls, and print the tables."""
    from crate_transformer.data import crop_parts, open_part_samples
    from crate_transformer.evaluation import part_pointing
    from crate_transformer.progress import tracked
    from crate_transformer.reports.parts import consistency_table, parts_statements, parts_table

    patches = [judged.patch_size for judged in (model, baseline) if judged is not None]
    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    if any(side % length for patch in patches for length in patch):
        raise ValueError(f"{side} pixels are no multiple of the patch sizes of both models: choose another --size")
    found = {}
    for folder in folders:
        samples = open_part_samples(folder)
        name = folder.parent.name if folder.name == "open" else folder.name
        name = str(folder) if name in found else name
        some = samples.spread(limit)
        arrays = crop_parts(tracked("images", some, len(some)), samples.parts, side)
        found[name] = part_pointing(model, arrays, baseline=baseline, seed=seed)
        tables = [parts_table(name, found[name]), consistency_table(name, found[name])]
        show_tables(tables, parts_statements(found[name]))
    return found


def show_tables(tables: "Sequence[Table]", lines: Sequence[str]) -> None:
    """Print tables, and statements below them."""
    from crate_transformer.reports.table import print_table

    for table in tables:
        print_table(table.columns, table.rows, table.caption)
    say(*lines)


def box_tables(
    model: "Backbone", container: Path, boxes: Path, *, size: int | None, limit: int | None, seed: int
) -> dict[str, object]:
    """Print and return CorLoc of attention against labelled boxes, with controls."""
    import numpy as np
    import torch.nn.functional as F

    from crate_transformer.data.boxes import boxed_pictures
    from crate_transformer.evaluation import corloc
    from crate_transformer.reports.emergence import ROWS, in_words
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
    found = corloc(model, larger.round().clamp(0, 255).byte(), edges * scale, seed=seed, show=True)
    rows = [[text, found.rows[row].corloc, found.rows[row].mean_iou] for row, text in ROWS.items() if row in found.rows]
    print_table(
        ["", "CorLoc", "mean IoU"], rows, f"Boxes from attention, {found.num_images} images, {side} x {side} pixels"
    )
    say(f"layer, head and threshold chosen on the other half of the images: {in_words(found.rows['model'].choices)}")
    return {"data": str(container), "boxes": str(boxes), "corloc": found.to_dict()}


def whole_patches(model: "Backbone", side: int) -> int:
    """The nearest multiple of the patch size."""
    import math

    patch = math.lcm(*model.patch_size)
    if side < patch:
        raise ValueError(f"an image size of {side} pixels is less than one patch of {patch}")
    return round(side / patch) * patch
