"""How time grows with the number of tokens."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from crate_transformer.reports.style import styled


@styled
def scaling_figure(scaling: Mapping[str, object]) -> Figure:
    """Milliseconds of one layer against tokens, on two logarithmic axes.

    Args:
        scaling: ``tokens``, and one list of seconds for ``MSSA`` and for ``TSSA``.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, marker in (("MSSA", "o"), ("TSSA", "s")):
        axes.loglog(scaling["tokens"], [1e3 * value for value in scaling[name]], marker=marker, label=name)
    axes.set_xticks(scaling["tokens"], [str(count) for count in scaling["tokens"]])
    axes.minorticks_off()
    axes.set_xlabel("tokens")
    axes.set_ylabel("milliseconds for one layer")
    axes.legend()
    return figure
