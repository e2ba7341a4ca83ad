"""The style of all figures, and how they are saved."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from crate_transformer.storage import printable, write_file

WIDTH = 8.4  # inches: the column of the page
DPI = 144
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
CONTROL_GREY = "#A6A6A6"
INK = "#222222"
OUTLINE = "#F0E442"  # Okabe and Ito's yellow: with a dark halo it stands out on any image
MAP_COLOURS = "magma"
RATE = "R\N{MODIFIER LETTER SMALL C}"

OTHER_LETTERS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "PingFang SC",
    "Arial Unicode MS",
)
"""Fonts for characters that DejaVu Sans lacks; the installed ones are used."""

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", *(font for font in OTHER_LETTERS if font in get_font_names())],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "figure.titlesize": 11.5,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # names of files and classes may contain a dollar sign
}
NOTHING_DATED = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}

Options = ParamSpec("Options")


@contextmanager
def house_style() -> Iterator[None]:
    """Inside, matplotlib uses our settings; afterwards the user's settings are restored."""
    defaults: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(defaults | STYLE):
        yield


def styled(draw: Callable[Options, Figure]) -> Callable[Options, Figure]:
    """Run a drawing function in our style, with control characters in its texts shown as escapes."""

    printed: Callable[..., Figure] = draw

    @wraps(draw)
    def inner(*args: Options.args, **kwargs: Options.kwargs) -> Figure:
        with house_style():
            return printed(*map(_shown, args), **{name: _shown(value) for name, value in kwargs.items()})

    return inner


def _shown(value: object) -> object:
    """Strings, sequences of strings and mappings with control characters as escapes; anything else unchanged."""
    if isinstance(value, str):
        return printable(value, lines=True)
    if type(value) is list or type(value) is tuple:
        items = [_shown(item) if isinstance(item, str) else item for item in value]
        return items if type(value) is list else tuple(items)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(item) if isinstance(item, str) else item for key, item in value.items()}
    return value


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A white figure of the given size in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend for the whole figure, below its panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write ``path`` as PNG or PDF, by its suffix; the same figure gives the same bytes.

    Raises:
        ValueError: the suffix is neither ``.png`` nor ``.pdf``.
    """
    path = Path(path)
    write_file(path, figure_bytes(figure, path.suffix.lower()))
    return path


def figure_bytes(figure: Figure, suffix: str = ".png") -> bytes:
    """The content of the file that ``save_figure`` writes."""
    if suffix not in NOTHING_DATED:
        raise ValueError(f"a figure cannot be saved as {suffix!r}: choose one of {', '.join(NOTHING_DATED)}")
    buffer = io.BytesIO()
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # an empty box is shown
        figure.savefig(
            buffer,
            format=suffix[1:],
            dpi=DPI,
            bbox_inches="tight",
            pad_inches=0.08,
            facecolor="white",
            metadata=NOTHING_DATED[suffix],
        )
    return buffer.getvalue()
