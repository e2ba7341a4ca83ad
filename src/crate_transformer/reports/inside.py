"""The sections of ``crate inspect`` about the model and all pictures together."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from crate_transformer.inspection import Geometry, Inside, Steps
from crate_transformer.reports.heads import heads_figure
from crate_transformer.reports.layerwise import steps_figure
from crate_transformer.reports.maskcut import maskcut_figure
from crate_transformer.reports.page import Section
from crate_transformer.reports.pca import pca_figure
from crate_transformer.reports.style import figure_bytes
from crate_transformer.reports.subspaces import gram_figure, subspaces_figure
from crate_transformer.storage import printable

_LETTERS = 14  # of a picture's name in one line


def inside_sections(inside: Inside, files: dict[str, bytes]) -> list[Section]:
    """One section for each answer there is, with its figures, which are added to ``files`` too."""
    count, shown = len(inside.looks), len(inside.crops)
    all_pictures = f"{'the picture' if count == 1 else f'all {count} pictures'} at {_pixels(inside.size)}"
    first = f": the first {shown} of {count} pictures" if shown < count else ""
    large = f"{_pixels(inside.crops.shape[1:3])}, cropped as in the evaluation{first}"
    names = [_shortened(printable(Path(look.name).stem), 2 * _LETTERS) for look in inside.looks[:shown]]
    sections = []

    def add(title: str, text: str, **figures: Figure) -> None:
        drawn = {f"{name}.png": figure_bytes(figure) for name, figure in figures.items()}
        files.update(drawn)
        sections.append(Section(title, text, [(content, "", title) for content in drawn.values()]))

    trained = inside.steps.trained
    share = f"attention lowers R<sup>c</sup> in {trained.compressing.mean():.0%}"
    if trained.descending is not None:
        share += f", the sparse step the LASSO objective in {trained.descending.mean():.0%}"
    add(
        "Descent, step by step",
        Markup(
            f"How much the steps of each of the {len(inside.steps.layers)} layers lower what they were derived to "
            f"lower, on {all_pictures} (below zero is descent): {share} of the cases."
        ),
        steps=steps_figure(inside.steps),
    )
    if inside.geometry:
        add(
            "Subspaces and dictionaries",
            f"How the weights of each of the {len(inside.objective.layers)} layers lie to each other, whatever the "
            "picture, beside an untrained model of the same shape.",
            subspaces=subspaces_figure(inside.geometry),
            gram=gram_figure(inside.geometry),
        )
    add(
        "Objects cut out without labels",
        f"What MaskCut takes for objects by the features of layer {inside.cuts.layer}, at {large}.",
        maskcut=maskcut_figure(inside.crops, inside.cuts, ["\n".join(textwrap.wrap(n, _LETTERS)) for n in names]),
    )
    add(
        "What the features have in common",
        f"Patches whose features of layer {inside.components.layer} are alike have one colour in all pictures, at "
        f"{large}.",
        pca=pca_figure(inside.crops, inside.components, names),
    )
    if inside.heads:
        add(
            "What each head looks at",
            f"Attention of the class token in layer {inside.heads.layer}, with each head's consistency (mean cosine "
            f"between pairs of pictures of what it gathers) over {all_pictures} beside that of an untrained model.",
            heads=heads_figure(
                inside.crops,
                inside.heads.maps[:shown],
                f"What each head of layer {inside.heads.layer} looks at",
                inside.heads.head_labels,
            ),
        )
    return sections


def measurements(inside: Inside) -> dict[str, object]:
    """The numbers behind these sections, for ``results.json``; ``None`` for an answer that there is not."""
    cuts, components, heads = inside.cuts, inside.components, inside.heads
    pair = ("trained", "untrained")
    return {
        "size": inside.size,
        "large_size": inside.crops.shape[1:3],
        "missing": inside.missing,
        "steps": {name: _steps(getattr(inside.steps, name)) for name in pair},
        "subspaces": inside.geometry and {name: _geometry(getattr(inside.geometry, name)) for name in pair},
        "maskcut": {
            "layer": cuts.layer,
            "tau": cuts.tau,
            "verdicts": cuts.verdicts,
            "eigenvalues": cuts.eigenvalues,
            "mask_shares": cuts.masks.mean(axis=(2, 3)),
        },
        "feature_pca": {
            "layer": components.layer,
            "first_share": components.first_share,
            "colour_shares": components.colour_shares,
            "foreground_shares": components.foreground.mean(axis=(1, 2)),
        },
        "head_semantics": heads
        and {
            "layer": heads.layer,
            "consistency": heads.summary.consistency,
            "shuffled_consistency": heads.summary.shuffled_consistency,
            "untrained_consistency": heads.summary.untrained_consistency,
            "entropy": heads.summary.entropy,
        },
    }


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"


def _pixels(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _steps(steps: Steps) -> dict[str, object]:
    return {**vars(steps), "compressing": steps.compressing, "descending": steps.descending}


def _geometry(geometry: Geometry) -> dict[str, object]:
    return {
        "within": geometry.within,
        "across": geometry.across,
        "effective_rank": geometry.effective_rank,
        "joint_rank": geometry.joint_rank,
        "dictionaries": geometry.dictionaries,
    }
