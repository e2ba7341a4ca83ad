"""The page that ``crate inspect`` writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crate_transformer.inspection import LayerwiseObjective, Look, threshold_mass
from crate_transformer.reports.attention import mask_figure
from crate_transformer.reports.heads import layers_figure
from crate_transformer.reports.layerwise import layerwise_figure
from crate_transformer.reports.page import Section, write_page
from crate_transformer.reports.results import write_json
from crate_transformer.reports.style import save_figure
from crate_transformer.reports.table import Table

LAYERWISE = Markup(
    "R<sup>c</sup> of the projected block input (tokens normalised, &epsilon;<sup>2</sup> = "
    "0.01, the released measurement) and the share of non-zero entries each block leaves, over these pictures. "
    "The dashed "
    "curves are a freshly initialised model of the same shape: only what differs from them was learned."
)


def inspection_page(
    looks: Sequence[Look],
    objective: LayerwiseObjective,
    folder: Path,
    *,
    heads: Sequence[int],
    mask_from: tuple[int, int],
    mask_from_why: str,
    mass: float,
    model_name: str,
    about: str,
) -> Path:
    """Write PNGs, ``results.json`` and ``report.html`` into ``folder``; the path of the report is returned.

    Args:
        heads: which heads of the maps to show.
        mask_from: layer and head whose largest ``mass`` of attention makes the mask, and ``mask_from_why`` these.
        about: what the checkpoint says of itself.
    """
    layer, head = mask_from
    figure = layerwise_figure({model_name: objective})
    save_figure(figure, folder / "layerwise.png")
    pages = [Section("What each layer does to the objective", LAYERWISE, [(figure, "", "R^c and sparsity by layer")])]
    results = []
    for number, look in enumerate(looks):
        stem = f"{number:03d}-{Path(look.name).stem}"
        maps = look.attention.maps[0]
        every = layers_figure(look.image, maps[:, list(heads)], look.attention.layers, heads)
        mask = threshold_mass(maps[look.attention.layers.index(layer), head], mass)
        cut = mask_figure(look.image, mask, f"layer {layer}, head {head}: {mass:.0%} of the attention")
        save_figure(every, folder / f"{stem}-attention.png")
        save_figure(cut, folder / f"{stem}-mask.png")
        np.savez_compressed(folder / f"{stem}-attention.npz", maps=maps, layers=look.attention.layers, mask=mask)
        table = Table(["class", "probability"], look.top) if look.top else None
        called = "what the model calls it" if look.top else "the model has no classifier to name it"
        figures = [
            (cut, f"The mask holds {mask.mean():.0%} of the patches.", f"mask over {look.name}"),
            (every, "Attention of the class token over the patches.", f"attention maps of {look.name}"),
        ]
        pages.append(Section(Path(look.name).name, f"{look.name}: {called}.", figures, table))
        results.append({"image": look.name, "top": look.top, "grid": mask.shape, "mask_share": mask.mean()})
    data = {
        "checkpoint": about.splitlines(),
        "pictures": results,
        "layers": looks[0].attention.layers,
        "heads": list(heads),
        "mask": {"layer": layer, "head": head, "mass": mass, "chosen": mask_from_why},
        "subspace_rate": objective.subspace_rate,
        "untrained_subspace_rate": objective.untrained_subspace_rate,
        "nonzero": objective.nonzero,
        "untrained_nonzero": objective.untrained_nonzero,
    }
    write_json(folder / "results.json", data)
    lead = (
        f"{len(looks)} picture{'s' * (len(looks) > 1)} through {model_name}. Masks come from layer {layer}, head "
        f"{head}, "
        f"{mask_from_why}."
    )
    return write_page(folder / "report.html", "Inside the model", lead, pages, about)
