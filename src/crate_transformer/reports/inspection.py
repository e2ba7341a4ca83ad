"""The page that ``crate inspect`` writes."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crate_transformer.inspection import Inside, LayerwiseObjective, Look, threshold_mass
from crate_transformer.reports.attention import mask_figure
from crate_transformer.reports.heads import layers_figure
from crate_transformer.reports.inside import inside_sections, measurements
from crate_transformer.reports.layerwise import layerwise_figure
from crate_transformer.reports.page import Illustration, Section, page_bytes
from crate_transformer.reports.style import figure_bytes
from crate_transformer.reports.table import Table
from crate_transformer.storage import file_stem, json_bytes, write_files

WRITES = ("results.json", "report.html")
_NOT_ALWAYS = re.compile(r"(steps|subspaces|gram|heads)\.png|\d{4,}-.*-(attention\.npz|attention\.png|mask\.png)")

LAYERWISE = Markup(
    "R<sup>c</sup> of the projected block input (tokens normalised, &epsilon;<sup>2</sup> = "
    "0.01, the released measurement) and the share of non-zero entries each block leaves, over these pictures. "
    "The dashed "
    "curves are a freshly initialised model of the same shape: only what differs from them was learned."
)


def inspection_page(
    inside: Inside,
    folder: Path,
    *,
    heads: Sequence[int],
    mask_from: tuple[int, int] | None,
    mask_from_why: str,
    mass: float,
    model_name: str,
    about: str,
    compared: Mapping[str, LayerwiseObjective],
    left_out: Mapping[str, str],
    beside: Mapping[str, bytes],
) -> Path:
    """Write PNGs, maps, ``results.json`` and ``report.html`` into ``folder``, all or none; returns the report's path.

    Args:
        heads: which heads of the maps to show.
        mask_from: layer and head whose largest ``mass`` of attention makes the mask, and ``mask_from_why`` these;
            ``None`` where the model has no attention.
        about: what the checkpoint says of itself.
        compared: other checkpoints, measured on the same pictures.
        left_out: pictures that could not be used, with the reason.
        beside: files that are written with the others.
    """
    looks = inside.looks
    objectives = {model_name: inside.objective, **compared}
    figure = figure_bytes(layerwise_figure(objectives))
    files: dict[str, bytes] = {"layerwise.png": figure}
    pages = [Section("What each layer does to the objective", LAYERWISE, [(figure, "", "R^c and sparsity by layer")])]
    pages += inside_sections(inside, files)
    results = []
    for number, look in enumerate(looks):
        stem = file_stem(number, look.name)
        table = Table(["class", "probability"], look.top) if look.top else None
        called = "what the model calls it" if look.top else "the model has no classifier to name it"
        figures, found = _attention(look, files, stem, heads, mask_from, mass) if mask_from else ([], {})
        pages.append(Section(Path(look.name).name, f"{look.name}: {called}.", figures, table))
        results.append({"image": look.name, "top": look.top, **found})
    mask = {"layer": mask_from[0], "head": mask_from[1], "mass": mass, "chosen": mask_from_why} if mask_from else None
    data = {
        "checkpoint": about.splitlines(),
        "pictures": results,
        "left_out": left_out,
        "layers": looks[0].attention.layers if mask_from else [],
        "heads": list(heads),
        "mask": mask,
        **_curves(inside.objective),
        "compared": {name: _curves(objective) for name, objective in compared.items()},
        **measurements(inside),
    }
    files["results.json"] = json_bytes(data)
    lead = [f"{len(looks)} picture{'s' * (len(looks) > 1)} through {model_name}."]
    if mask_from:
        lead.append(f"Masks come from layer {mask_from[0]}, head {mask_from[1]}, {mask_from_why}.")
    if left_out:
        lead.append(f"Left out: {'; '.join(left_out.values())}.")
    if inside.missing:
        lead.append(f"Not on this page: {'; '.join(inside.missing)}.")
    files["report.html"] = page_bytes("Inside the model", " ".join(lead), pages, about)
    before = {file.name for file in folder.glob("*") if _NOT_ALWAYS.fullmatch(file.name)}
    return write_files(folder, {**files, **beside}, remove=sorted(before - files.keys())) / "report.html"


def _attention(
    look: Look, files: dict[str, bytes], stem: str, heads: Sequence[int], mask_from: tuple[int, int], mass: float
) -> tuple[list[Illustration], dict[str, object]]:
    """The figures of one picture, which are added to ``files`` too, and what they show in numbers."""
    layer, head = mask_from
    maps, layers = look.attention.maps[0], look.attention.layers
    every = layers_figure(look.image, maps[:, list(heads)], layers, heads)
    mask = threshold_mass(maps[layers.index(layer), head], mass)
    cut = mask_figure(look.image, mask, f"layer {layer}, head {head}: {mass:.0%} of the attention")
    archive = io.BytesIO()
    np.savez_compressed(archive, maps=maps, layers=layers, mask=mask)
    drawn, shown = figure_bytes(cut), figure_bytes(every)
    files |= {f"{stem}-attention.npz": archive.getvalue(), f"{stem}-mask.png": drawn, f"{stem}-attention.png": shown}
    figures = [
        (drawn, f"The mask holds {mask.mean():.0%} of the patches.", f"mask over {look.name}"),
        (shown, "Attention of the class token over the patches.", f"attention maps of {look.name}"),
    ]
    return figures, {"grid": mask.shape, "mask_share": mask.mean()}


def _curves(objective: LayerwiseObjective) -> dict[str, np.ndarray]:
    names = ("subspace_rate", "untrained_subspace_rate", "nonzero", "untrained_nonzero")
    return {name: getattr(objective, name) for name in names}
