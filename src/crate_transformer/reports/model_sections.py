"""The sections of ``crate inspect`` about the model and all images together."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from crate_transformer.inspection import EnergySteps, Geometry, Inside, LayerSteps, SparseDescent, Steps
from crate_transformer.reports.heads import heads_figure
from crate_transformer.reports.layerwise import energies_figure, steps_figure
from crate_transformer.reports.maskcut import maskcut_figure
from crate_transformer.reports.page import Section
from crate_transformer.reports.pca import pca_figure
from crate_transformer.reports.style import figure_bytes
from crate_transformer.reports.subspaces import gram_figure, subspaces_figure
from crate_transformer.storage import printable

_LETTERS = 14  # of an image's name in one line


def model_sections(inside: Inside, files: dict[str, bytes]) -> list[Section]:
    """One section per available measurement, with its figures, which are also added to ``files``."""
    count, shown = len(inside.looks), len(inside.crops)
    all_images = f"{'the image' if count == 1 else f'all {count} images'} at {_pixels(inside.size)}"
    first = f": the first {shown} of {count} images" if shown < count else ""
    large = f"{_pixels(inside.crops.shape[1:3])}, cropped as in evaluation{first}"
    names = [_shortened(printable(Path(look.name).stem), 2 * _LETTERS) for look in inside.looks[:shown]]
    sections = []

    def add(title: str, text: str, **figures: Figure) -> None:
        drawn = {f"{name}.png": figure_bytes(figure) for name, figure in figures.items()}
        files.update(drawn)
        sections.append(Section(title, text, [(content, "", title) for content in drawn.values()]))

    add(
        "Descent, step by step",
        Markup(
            f"Both steps of each of the {len(inside.steps.layers)} layers on {all_images}; values below zero mean "
            "descent. "
        )
        + attention_text(inside.steps)
        + sparse_text(inside.steps.trained.sparse, inside.steps.untrained.sparse),
        steps=steps_figure(inside.steps),
    )
    if inside.energies and inside.untrained_energies:
        add(
            "Energies, step by step",
            energies_text(inside.energies, inside.untrained_energies, all_images),
            energies=energies_figure(inside.energies, inside.untrained_energies),
        )
    if inside.geometry:
        add(
            "Subspaces and dictionaries",
            f"Angles between subspaces and coherence of dictionaries in {len(inside.objective.layers)} layers, beside "
            "those of an untrained model of the same shape. They depend on the weights alone.",
            subspaces=subspaces_figure(inside.geometry),
            gram=gram_figure(inside.geometry),
        )
    add(
        "Object masks without labels",
        f"Objects found by MaskCut from the features of layer {inside.cuts.layer}, at {large}.",
        maskcut=maskcut_figure(inside.crops, inside.cuts, ["\n".join(textwrap.wrap(n, _LETTERS)) for n in names]),
    )
    add(
        "Principal components of the features",
        f"Patches with similar features in layer {inside.components.layer} have similar colours in all images, at "
        f"{large}.",
        pca=pca_figure(inside.crops, inside.components, names),
    )
    if inside.heads:
        add(
            "Consistency of each head",
            f"Attention of the class token in layer {inside.heads.layer}. The consistency of a head is the mean cosine "
            f"similarity, over pairs of images, of the features it gathers; here for {all_images}, beside that of an "
            "untrained model.",
            heads=heads_figure(
                inside.crops,
                inside.heads.maps[:shown],
                f"Attention of each head of layer {inside.heads.layer}",
                inside.heads.head_labels,
            ),
        )
    return sections


def attention_text(steps: LayerSteps) -> Markup:
    """How often attention lowers R^c, and what the theory says."""
    untrained = "unchanged" if steps.untrained.unchanged else f"{steps.untrained.compressing.mean():.0%}"
    why = (
        "MSSA approximates a step that lowers it; with a trained output map this is not guaranteed"
        if steps.derived
        else "this attention was not derived to lower it and is shown for comparison"
    )
    return Markup(
        f"Attention lowers R<sup>c</sup> in {steps.trained.compressing.mean():.0%} of all pairs of layer and image "
        f"(untrained model: {untrained}); {why}. "
    )


def sparse_text(trained: SparseDescent | None, untrained: SparseDescent | None) -> Markup:
    """How often the sparse step lowers its objective, and what is guaranteed."""
    if not trained or not untrained:
        return Markup()
    norms, inverse = trained.squared_norm, trained.inverse_step[0]
    condition = "&eta; &le; 1/&Vert;D&Vert;&sup2;"
    lowered = f"{trained.lowered.mean():.0%} of the tokens (untrained model: {untrained.lowered.mean():.0%})"
    bounded = f"{trained.bounded.mean():.0%} of the tokens (untrained model: {untrained.bounded.mean():.0%})"
    if trained.starts_feasible:
        text = (
            f"The sparse step takes proximal steps from 0 and lowers its LASSO objective for {lowered}. This is "
            f"guaranteed if {condition}."
        )
    else:
        text = (
            "The sparse step starts at the token itself, which is not feasible for the non-negative LASSO because it "
            "has negative entries. The code is therefore compared with the feasible start, the nearest feasible point; "
            f"its objective is lower for {lowered}. This is not guaranteed. If {condition}, an upper bound is "
            "guaranteed: the objective of the feasible start plus its squared distance from the token, divided by "
            f"2&eta;. The bound holds for {bounded}."
        )
    holds = "holds" if norms.max() <= inverse else "does not hold"
    return Markup(
        f"{text} In this model the condition {holds}: &Vert;D&Vert;&sup2; is {norms.min():.3g} to {norms.max():.3g}, "
        f"and 1/&eta; is {inverse:.3g}."
    )


def energies_text(energies: EnergySteps, untrained: EnergySteps, where: str) -> str:
    """How often each step lowers the energy from which it was derived, and what is not guaranteed."""
    if untrained.unchanged:
        control = "nothing changes, its step sizes are zero"
        steps = "step sizes are learned and may be negative, and steps"
    else:
        attention, ff = untrained.attention_lowered.mean(), untrained.feed_forward_lowered.mean()
        control, steps = f"{attention:.0%} and {ff:.0%}", "steps"
    attention, ff = energies.attention_lowered, energies.feed_forward_lowered
    return (
        f"The energies from which the two steps of each of the {len(attention)} layers were derived, on {where}; "
        "values below zero mean descent. Attention lowers its energy in "
        f"{attention.mean():.0%} of all pairs of layer and image, the feed-forward step in {ff.mean():.0%} (untrained "
        f"model: {control}). This is not guaranteed: {steps}, as in the released code, are not the whole gradients, "
        "because they omit the derivative of RMSNorm."
    )


def measurements(inside: Inside) -> dict[str, object]:
    """The numbers of these sections, for ``results.json``; ``None`` where a measurement is not available."""
    cuts, components, heads = inside.cuts, inside.components, inside.heads
    pair = ("trained", "untrained")
    return {
        "size": inside.size,
        "large_size": inside.crops.shape[1:3],
        "missing": inside.missing,
        "steps": {name: _steps(getattr(inside.steps, name)) for name in pair},
        "energies": inside.energies and _energies(inside.energies),
        "untrained_energies": inside.untrained_energies and _energies(inside.untrained_energies),
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


def _energies(energies: EnergySteps) -> dict[str, object]:
    lowered = {name: getattr(energies, name) for name in ("attention_lowered", "feed_forward_lowered")}
    return {**vars(energies), **lowered}


def _geometry(geometry: Geometry) -> dict[str, object]:
    return {
        "within": geometry.within,
        "across": geometry.across,
        "effective_rank": geometry.effective_rank,
        "joint_rank": geometry.joint_rank,
        "dictionaries": geometry.dictionaries,
    }
