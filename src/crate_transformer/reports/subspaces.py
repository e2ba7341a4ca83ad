"""Subspaces and dictionaries against depth, and the angles between their columns."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crate_transformer.inspection import Geometry, SubspaceGeometry
from crate_transformer.reports.style import COLOURS, new_figure, styled

_NAMES = {"dictionary": "dictionary", "decoupled_dictionary": "decoupled dictionary"}


@styled
def subspaces_figure(geometry: SubspaceGeometry, title: str = "Subspaces and dictionaries, layer by layer") -> Figure:
    """Coherence, effective rank and angles of the subspaces, and coherence and distance from orthogonality of the
    dictionaries, against depth; solid: the model, dashed: an untrained model of the same shape."""
    several = geometry.trained.angles.shape[1] > 1
    panels: list[tuple[str, str, dict[str, Callable[[Geometry], np.ndarray]]]] = [
        (
            "Coherence of the subspaces",
            "mean |cos| of columns",
            {"within a head": lambda g: g.within} | ({"across heads": lambda g: g.across} if several else {}),
        ),
        (
            "Effective rank of a head",
            "of its dimension",
            {"mean over heads": lambda g: g.effective_rank.mean(axis=1) / g.angles.shape[-1]},
        ),
    ]
    if several:
        angles = {"smallest": lambda g: _angles(g)[..., 0].mean(axis=1), "mean": lambda g: _angles(g).mean(axis=(1, 2))}
        panels.append(("Angles between two heads", "principal angle (degrees)", angles))
    if geometry.trained.dictionaries:
        panels += [
            ("Coherence of the atoms", "mean |cos| of atoms", _of_dictionaries(geometry, "mean_coherence")),
            ("Most coherent atoms", "largest |cos| of atoms", _of_dictionaries(geometry, "max_coherence")),
            ("Distance from orthogonality", "relative, free of scale", _of_dictionaries(geometry, "frame_distance")),
        ]
    rows = -(-len(panels) // 3)
    figure = new_figure(height=0.6 + 2.6 * rows)
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for panel, (name, label, curves) in zip(axes[: len(panels)], panels, strict=True):
        for colour, (what, measure) in zip(COLOURS[: len(curves)], curves.items(), strict=True):
            _curve(panel, geometry, measure, what, colour)
        panel.set(title=name, ylabel=label, xlabel="layer")
        panel.set_ylim(0, 1.08 * max(line.get_ydata().max() for line in panel.lines))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.legend(fontsize=8.5, loc="best") if len(curves) > 1 else None
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    figure.suptitle(title)
    figure.supxlabel("solid: this model; dashed: an untrained model of the same shape", fontsize=8.5)
    return figure


@styled
def gram_figure(
    geometry: SubspaceGeometry,
    layers: Sequence[int] | None = None,
    title: str = "Cosines between the columns of the subspaces",
) -> Figure:
    r"""The absolute cosines between a few columns of every head, for a few layers; top: the model, bottom: the control.

    Args:
        layers: at most six; default: first, middle and last.

    Raises:
        ValueError: a layer does not exist, or there are more than six.
    """
    depth = len(geometry.trained.gram)
    chosen = sorted({0, depth // 2, depth - 1}) if layers is None else list(layers)
    if not 1 <= len(chosen) <= 6 or not all(0 <= layer < depth for layer in chosen):
        raise ValueError(f"layers are {chosen}: give one to six of 0 to {depth - 1}")
    figure = new_figure(height=5.2 if len(chosen) < 5 else 3.8)
    panels = figure.subplots(2, len(chosen), squeeze=False, sharex=True, sharey=True)
    columns = geometry.trained.gram.shape[-1]
    beside = ~np.eye(columns, dtype=bool)
    largest = max(one.gram[layer][beside].max() for one in (geometry.trained, geometry.untrained) for layer in chosen)
    per_head = columns // geometry.trained.coherence.shape[-1]
    for row, (name, one) in enumerate((("trained", geometry.trained), ("untrained", geometry.untrained))):
        for panel, layer in zip(panels[row], chosen, strict=True):
            panel.imshow(one.gram[layer], vmin=0, vmax=largest, cmap="magma", interpolation="nearest")
            panel.grid(visible=False)
            panel.set_xticks(np.arange(0, columns + 1, per_head) - 0.5, labels=[])
            panel.set_yticks(np.arange(0, columns + 1, per_head) - 0.5, labels=[])
            panel.set_title("" if row else f"layer {layer}")
        panels[row, 0].set_ylabel(name)
    figure.colorbar(panels[0, 0].images[0], ax=panels, label="|cos|; the diagonal is 1", shrink=0.8, extend="max")
    figure.suptitle(title)
    figure.supxlabel(f"{per_head} columns of each head, drawn at random; ticks separate the heads", fontsize=8.5)
    return figure


def _angles(geometry: Geometry) -> np.ndarray:
    """Principal angles of all pairs of heads in degrees, ``(layers, pairs, head_dim)``."""
    first, second = np.triu_indices(geometry.angles.shape[1], k=1)
    return np.rad2deg(geometry.angles[:, first, second])


def _of_dictionaries(geometry: SubspaceGeometry, quantity: str) -> dict[str, Callable[[Geometry], np.ndarray]]:
    def of(key: str) -> Callable[[Geometry], np.ndarray]:
        return lambda one: getattr(one.dictionaries[key], quantity)

    return {name: of(key) for key, name in _NAMES.items() if key in geometry.trained.dictionaries}


def _curve(
    panel: Axes, geometry: SubspaceGeometry, measure: Callable[[Geometry], np.ndarray], name: str, colour: str
) -> None:
    panel.plot(measure(geometry.trained), color=colour, marker="o", label=name)
    panel.plot(measure(geometry.untrained), color=colour, linestyle="--", marker="o", mfc="white")
