"""The sections of ``crate inspect`` about the model and all pictures together."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from crate_transformer.inspection import Geometry, Inside, LayerSteps, SparseDescent, Steps
from crate_transformer.reports.heads import heads_figure
from crate_transformer.reports.layerwise import steps_figure
from crate_transformer.reports.maskcut import maskcut_figure
from crate_transformer.reports.page import Section
from crate_transformer.reports.pca import pca_figure
from crate_transformer.reports.style import figure_bytes
from crate_transformer.reports.subspaces import gram_figure, subspaces_figure
from crate_transformer.storage import printable

_LETTERS = 14  # of a picture's name in one line


def model_sections(inside: Inside, files: dict[str, bytes]) -> list[Section]:
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

    add(
        "Descent, step by step",
        Markup(
            f"Both steps of each of the {len(inside.steps.layers)} layers on {all_pictures}; below zero is descent. "
        )
        + attention_text(inside.steps)
        + sparse_text(inside.steps.trained.sparse, inside.steps.untrained.sparse),
        steps=steps_figure(inside.steps),
    )
    if inside.geometry:
        add(
            "Subspaces and dictionaries",
            f"Angles between subspaces and coherence of dictionaries, {len(inside.objective.layers)} layers. "
            "They depend on the weights alone; an untrained model of the same shape stands beside.",
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
            "How consistent each head is",
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


def attention_text(steps: LayerSteps) -> Markup:
    """In how many cases attention lowers R^c, and what the theory says of it."""
    fractions = [f"{found.compressing.mean():.0%}" for found in (steps.trained, steps.untrained)]
    why = (
        "MSSA approximates a step that lowers it; with a trained output map nothing guarantees it"
        if steps.derived
        else "this attention was not derived to lower it: shown for comparison"
    )
    return Markup(
        f"Attention lowers R<sup>c</sup> in {fractions[0]} of the cases (layers and pictures; untrained model "
        f"{fractions[1]}); {why}. "
    )


def sparse_text(trained: SparseDescent | None, untrained: SparseDescent | None) -> Markup:
    """What the sparse step lowers, and what it is guaranteed to."""
    if not trained or not untrained:
        return Markup()
    norms, inverse = trained.squared_norm, trained.inverse_step[0]
    condition = "&eta; &le; 1/&Vert;D&Vert;&sup2;"
    lowered = f"{trained.lowered.mean():.0%} of the tokens (untrained model {untrained.lowered.mean():.0%})"
    bounded = f"{trained.bounded.mean():.0%} of the tokens (untrained model {untrained.bounded.mean():.0%})"
    if trained.starts_feasible:
        text = (
            f"The sparse step takes proximal steps from 0, and lowers its LASSO objective for {lowered}; where "
            f"{condition} that is guaranteed."
        )
    else:
        text = (
            "The sparse step starts at the token itself, whose negative entries its LASSO problem does not allow: it "
            "is compared with the nearest point that is allowed, the feasible start, and its code has a lower "
            f"objective for {lowered}. That is not guaranteed; where {condition} a bound is, the objective of the "
            f"feasible start plus its squared distance from the token over 2&eta;, which holds for {bounded}."
        )
    holds = "holds" if norms.max() <= inverse else "does not hold"
    return Markup(
        f"{text} Here the condition {holds}: &Vert;D&Vert;&sup2; is {norms.min():.3g} to {norms.max():.3g}, 1/&eta; is "
        f"{inverse:.3g}."
    )


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
            "statuses": cuts.statuses,
            "eigenvalues": cuts.eigenvalues,
            "mask_fractions": cuts.masks.mean(axis=(2, 3)),
        },
        "feature_pca": {
            "layer": components.layer,
            "first_fraction": components.first_fraction,
            "colour_fractions": components.colour_fractions,
            "foreground_fractions": components.foreground.mean(axis=(1, 2)),
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
    return {**vars(steps), "compressing": steps.compressing}


def _geometry(geometry: Geometry) -> dict[str, object]:
    return {
        "within": geometry.within,
        "across": geometry.across,
        "effective_rank": geometry.effective_rank,
        "joint_rank": geometry.joint_rank,
        "dictionaries": geometry.dictionaries,
    }
