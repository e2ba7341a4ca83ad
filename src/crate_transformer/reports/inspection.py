"""The page that ``crate inspect`` writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crate_transformer.inspection import Inside, LayerwiseObjective, Look, threshold_mass
from crate_transformer.reports.attention import mask_figure
from crate_transformer.reports.heads import layers_figure
from crate_transformer.reports.inside import inside_sections, measurements
from crate_transformer.reports.layerwise import layerwise_figure
from crate_transformer.reports.page import Illustration, Section, write_page
from crate_transformer.reports.style import save_figure
from crate_transformer.reports.table import Table
from crate_transformer.storage import write_json

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
) -> Path:
    """Write PNGs, ``results.json`` and ``report.html`` into ``folder``; the path of the report is returned.

    Args:
        heads: which heads of the maps to show.
        mask_from: layer and head whose largest ``mass`` of attention makes the mask, and ``mask_from_why`` these;
            ``None`` where the model has no attention.
        about: what the checkpoint says of itself.
        compared: other checkpoints, measured on the same pictures.
    """
    looks = inside.looks
    objectives = {model_name: inside.objective, **compared}
    figure = save_figure(layerwise_figure(objectives), folder / "layerwise.png")
    pages = [Section("What each layer does to the objective", LAYERWISE, [(figure, "", "R^c and sparsity by layer")])]
    pages += inside_sections(inside, folder)
    results = []
    for number, look in enumerate(looks):
        stem = f"{number:03d}-{Path(look.name).stem}"
        table = Table(["class", "probability"], look.top) if look.top else None
        called = "what the model calls it" if look.top else "the model has no classifier to name it"
        figures, found = _attention(look, folder / stem, heads, mask_from, mass) if mask_from else ([], {})
        pages.append(Section(Path(look.name).name, f"{look.name}: {called}.", figures, table))
        results.append({"image": look.name, "top": look.top, **found})
    mask = {"layer": mask_from[0], "head": mask_from[1], "mass": mass, "chosen": mask_from_why} if mask_from else None
    data = {
        "checkpoint": about.splitlines(),
        "pictures": results,
        "layers": looks[0].attention.layers if mask_from else [],
        "heads": list(heads),
        "mask": mask,
        **_curves(inside.objective),
        "compared": {name: _curves(objective) for name, objective in compared.items()},
        **measurements(inside),
    }
    write_json(folder / "results.json", data)
    lead = [f"{len(looks)} picture{'s' * (len(looks) > 1)} through {model_name}."]
    if mask_from:
        lead.append(f"Masks come from layer {mask_from[0]}, head {mask_from[1]}, {mask_from_why}.")
    if inside.missing:
        lead.append(f"Not on this page: {'; '.join(inside.missing)}.")
    return write_page(folder / "report.html", "Inside the model", " ".join(lead), pages, about)


def _attention(
    look: Look, path: Path, heads: Sequence[int], mask_from: tuple[int, int], mass: float
) -> tuple[list[Illustration], dict[str, object]]:
    """The figures of one picture, which are saved too, and what they show in numbers."""
    layer, head = mask_from
    maps, layers = look.attention.maps[0], look.attention.layers
    every = layers_figure(look.image, maps[:, list(heads)], layers, heads)
    mask = threshold_mass(maps[layers.index(layer), head], mass)
    cut = mask_figure(look.image, mask, f"layer {layer}, head {head}: {mass:.0%} of the attention")
    np.savez_compressed(path.with_name(f"{path.name}-attention.npz"), maps=maps, layers=layers, mask=mask)
    drawn, shown = (path.with_name(f"{path.name}-{what}.png") for what in ("mask", "attention"))
    figures = [
        (save_figure(cut, drawn), f"The mask holds {mask.mean():.0%} of the patches.", f"mask over {look.name}"),
        (save_figure(every, shown), "Attention of the class token over the patches.", f"attention maps of {look.name}"),
    ]
    return figures, {"grid": mask.shape, "mask_share": mask.mean()}


def _curves(objective: LayerwiseObjective) -> dict[str, np.ndarray]:
    names = ("subspace_rate", "untrained_subspace_rate", "nonzero", "untrained_nonzero")
    return {name: getattr(objective, name) for name in names}
