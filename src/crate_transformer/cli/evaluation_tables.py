"""The tables of ``crate evaluate --segmentation`` and ``--boxes``."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.data import PartSamples, SegmentationSamples
    from crate_transformer.evaluation import Emergence, PartPointing
    from crate_transformer.models import Backbone
    from crate_transformer.reports import Table


def open_mask_sets(folders: Sequence[Path], limit: int | None) -> "dict[str, SegmentationSamples]":
    """The sets of images with masks in folders, by name.

    Args:
        folders: sets, or folders that contain sets.

    Raises:
        ValueError: a set cannot be opened or has fewer than four images.
    """
    from crate_transformer.data import find_segmentation, open_segmentation

    paths = named(path for folder in folders for path in find_segmentation(folder).values())
    sets = {name: open_segmentation(path).first(limit) for name, path in paths.items()}
    for name, samples in sets.items():
        if len(samples) < 4:
            raise ValueError(f"{name} has {len(samples)} images: at least 4 are needed")
    return sets


def open_part_sets(folders: Sequence[Path], limit: int | None) -> "dict[str, PartSamples]":
    """The sets of images with parts, by name.

    Raises:
        ValueError: a set cannot be opened or has fewer than three images.
    """
    from crate_transformer.data import open_part_samples

    sets = {name: open_part_samples(path).spread(limit) for name, path in named(folders).items()}
    for name, samples in sets.items():
        if len(samples) < 3:
            raise ValueError(f"{name} has {len(samples)} images with parts: at least 3 are needed")
    return sets


def segmentation_tables(
    model: "Backbone",
    sets: "Mapping[str, SegmentationSamples]",
    *,
    size: int | None,
    maskcut_size: int,
    layer: int,
    seed: int,
) -> "Iterator[tuple[str, Emergence]]":
    """Measure the model on every set of images with masks, with controls; the tables of each are printed.

    Args:
        size: image size for attention; default: twice the training size.
        maskcut_size: image size for MaskCut; 0 skips it.
    """
    from crate_transformer.evaluation import emergence
    from crate_transformer.reports.emergence import emergence_tables, statements

    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    cut_side = whole_patches(model, maskcut_size) if maskcut_size else 0
    options = {"size": side, "maskcut_size": cut_side, "layer": layer, "seed": seed}

    def measure() -> "Iterator[tuple[str, Emergence]]":
        for name, samples in sets.items():
            with naming(name):
                found = emergence(model, samples, **options, show=True)
            show_tables(emergence_tables(name, found), statements(found))
            yield name, found

    return measure()


def part_tables(
    model: "Backbone",
    sets: "Mapping[str, PartSamples]",
    *,
    baseline: "Backbone | None",
    size: int | None,
    seed: int,
) -> "Iterator[tuple[str, PartPointing]]":
    """Measure which head marks which part on every set of images with parts, with controls; the tables
    of each are printed."""
    from crate_transformer.data import crop_parts
    from crate_transformer.evaluation import part_pointing
    from crate_transformer.progress import tracked
    from crate_transformer.reports.parts import consistency_table, parts_statements, parts_table

    patches = [judged.patch_size for judged in (model, baseline) if judged is not None]
    side = whole_patches(model, size or 2 * min(model.preprocessing.img_size))
    if any(side % length for patch in patches for length in patch):
        raise ValueError(f"{side} pixels are no multiple of the patch sizes of both models: choose another --size")

    def measure() -> "Iterator[tuple[str, PartPointing]]":
        for name, samples in sets.items():
            with naming(name):
                arrays = crop_parts(tracked("images", samples, len(samples)), samples.parts, side)
                found = part_pointing(model, arrays, baseline=baseline, seed=seed, show=True)
            show_tables([parts_table(name, found), consistency_table(name, found)], parts_statements(found))
            yield name, found

    return measure()


def named(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by their part below the folder that contains all of them."""
    whole = {path.resolve(): path for path in paths}
    above = os.path.commonpath([path.parent for path in whole]) if whole else ""
    return {str(path.relative_to(above)): given for path, given in whole.items()}


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of a set before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


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
