"""The output of ``crate inspect`` besides the interactive part of its page."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crate_transformer.inspection import AttentionMaps, Inside, LayerwiseObjective, threshold_mass
from crate_transformer.reports.attention import mask_figure
from crate_transformer.reports.heads import layers_figure
from crate_transformer.reports.layerwise import layerwise_figure
from crate_transformer.reports.model_sections import measurements, model_sections
from crate_transformer.reports.page import Section
from crate_transformer.reports.style import figure_bytes
from crate_transformer.storage import file_stem, json_bytes, write_files

WRITES = ("results.json", "report.html")
_NOT_ALWAYS = re.compile(
    r"(steps|energies|subspaces|gram|heads)\.png|\d{4,}-.*-(attention\.npz|attention\.png|mask\.png)"
)

LAYERWISE = Markup(
    "R<sup>c</sup> of the projected block input (tokens normalised, &epsilon;<sup>2</sup> = "
    "0.01, as in the released code) and the fraction of non-zero entries after each block, over these images. "
    "The dashed curves are a randomly initialised model of the same shape: only the difference from them was learned."
)


@dataclass(frozen=True, kw_only=True)
class InspectionReport:
    """Files by name, and the text of the page: sections below the interactive part, and a paragraph above it."""

    files: dict[str, bytes]
    sections: list[Section]
    lead: str


def inspection_report(
    inside: Inside,
    *,
    heads: Sequence[int],
    mask_from: tuple[int, int] | None,
    mask_from_why: str,
    mass: float,
    model_name: str,
    about: str,
    compared: Mapping[str, LayerwiseObjective],
    left_out: Mapping[str, str],
) -> InspectionReport:
    """PNGs, maps and ``results.json``, and the sections about the whole model.

    Args:
        heads: heads to show.
        mask_from: layer and head of the mask, which contains the fraction ``mass`` of the attention; ``None`` if the
            model has no attention.
        mask_from_why: the reason for this choice.
        about: the provenance of the checkpoint.
        compared: other checkpoints, measured on the same images.
        left_out: images that could not be used, with the reason.
    """
    looks = inside.looks
    objectives = {model_name: inside.objective, **compared}
    figure = figure_bytes(layerwise_figure(objectives))
    files: dict[str, bytes] = {"layerwise.png": figure}
    sections = [Section("The objective in every layer", LAYERWISE, [(figure, "", "R^c and sparsity by layer")])]
    sections += model_sections(inside, files)
    results = []
    for number, look in enumerate(looks):
        found = {}
        if mask_from and look.attention:
            stem = file_stem(number, look.name)
            found = _attention(look.image, look.attention, files, stem, heads, mask_from, mass)
        results.append({"image": look.name, "top": look.top, **found})
    mask = {"layer": mask_from[0], "head": mask_from[1], "mass": mass, "chosen": mask_from_why} if mask_from else None
    data = {
        "checkpoint": about.splitlines(),
        "pictures": results,
        "left_out": left_out,
        "layers": looks[0].attention.layers if mask_from and looks[0].attention else [],
        "heads": list(heads),
        "mask": mask,
        **_curves(inside.objective),
        "compared": {name: _curves(objective) for name, objective in compared.items()},
        **measurements(inside),
    }
    files["results.json"] = json_bytes(data)
    lead = [f"{len(looks)} image{'s' * (len(looks) > 1)}, model {model_name}."]
    if mask_from:
        lead.append(f"The masks in the PNG files are from layer {mask_from[0]}, head {mask_from[1]} ({mask_from_why}).")
    if left_out:
        lead.append(f"Skipped: {'; '.join(left_out.values())}.")
    if inside.missing:
        lead.append(f"Not on this page: {'; '.join(inside.missing)}.")
    return InspectionReport(files=files, sections=sections, lead=" ".join(lead))


def write_inspection(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write all files or none, and remove files of other images from an earlier run; returns the path of the page."""
    before = {file.name for file in folder.glob("*") if _NOT_ALWAYS.fullmatch(file.name)}
    return write_files(folder, dict(files), remove=sorted(before - files.keys())) / "report.html"


def _attention(
    image: np.ndarray,
    attention: AttentionMaps,
    files: dict[str, bytes],
    stem: str,
    heads: Sequence[int],
    mask_from: tuple[int, int],
    mass: float,
) -> dict[str, object]:
    """Add the figures and maps of one image to ``files``; returns the grid and the mask's fraction of it."""
    layer, head = mask_from
    maps, layers = attention.maps[0], attention.layers
    every = layers_figure(image, maps[:, list(heads)], layers, heads)
    mask = threshold_mass(maps[layers.index(layer), head], mass)
    cut = mask_figure(image, mask, f"layer {layer}, head {head}: {mass:.0%} of the attention mass")
    archive = io.BytesIO()
    np.savez_compressed(archive, maps=maps, layers=layers, mask=mask)
    files[f"{stem}-attention.npz"] = archive.getvalue()
    files |= {f"{stem}-mask.png": figure_bytes(cut), f"{stem}-attention.png": figure_bytes(every)}
    return {"grid": mask.shape, "mask_fraction": mask.mean()}


def _curves(objective: LayerwiseObjective) -> dict[str, np.ndarray]:
    names = ("subspace_rate", "untrained_subspace_rate", "nonzero", "untrained_nonzero")
    return {name: getattr(objective, name) for name in names}
