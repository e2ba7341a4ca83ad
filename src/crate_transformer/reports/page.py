"""One self-contained HTML page from figures and tables."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from crate_transformer.reports.style import figure_bytes
from crate_transformer.reports.table import Table, format_cell
from crate_transformer.storage import printable, read_file, write_file

CSS_PIXELS_PER_INCH = 96

Illustration = tuple[Figure | bytes | str | Path, str, str]
"""A figure, a PNG file or its path; its caption; its alternative text."""


@dataclass(frozen=True)
class Section:
    """A heading with text, table, figures and code, in this order.

    Texts, captions and table cells are plain text (``<`` is escaped) unless they are ``markupsafe.Markup``. An empty
    line in ``text`` starts a new paragraph.
    """

    title: str
    text: str = ""
    figures: Sequence[Illustration] = ()
    table: Table | None = None
    code: str | None = None

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of the text; markup stays markup."""
        return [paragraph for paragraph in self.text.split("\n\n") if paragraph.strip()]


@dataclass(frozen=True)
class _Picture:
    """A PNG as a data URL, with its size on the page."""

    source: str
    width: int
    height: int
    caption: str = field(default="")
    alternative: str = field(default="")


def write_page(path: str | Path, title: str, lead: str, sections: Sequence[Section], footer: str = "") -> Path:
    """Write one self-contained HTML file: no scripts, no other files, no network access.

    Args:
        lead: one paragraph under the title that summarises the results.
        footer: how the page was made: command, versions, seed, time.

    Raises:
        ValueError: an image is not a PNG file.
        OSError: the file could not be written, or an image does not exist; an existing file is kept.
    """
    return write_file(path, page_bytes(title, lead, sections, footer))


def page_bytes(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> bytes:
    """The content of the file that ``write_page`` writes."""
    environment = Environment(
        loader=PackageLoader("crate_transformer", "reports"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": format_cell, "picture": embedded}
    template = environment.get_template("page.html.j2")
    return template.render(title=title, lead=lead, sections=sections, footer=footer).encode()


def _shown(value: object) -> object:
    """Text with control characters as escapes, before HTML escaping; markup is our own and unchanged."""
    return printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def embedded(illustration: Illustration) -> _Picture:
    """An image as a data URL; raises ``ValueError`` if it is not a PNG file."""
    drawing, caption, alternative = illustration
    content = figure_bytes(drawing) if isinstance(drawing, Figure) else drawing
    content = content if isinstance(content, bytes) else read_file(content)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"{alternative if isinstance(drawing, bytes) else drawing} is not a PNG file: give a PNG file or a "
            "matplotlib Figure"
        ) from error
    scale = CSS_PIXELS_PER_INCH / image.info.get("dpi", (CSS_PIXELS_PER_INCH,))[0]
    width, height = (round(scale * side) for side in image.size)
    source = Markup("data:image/png;base64,") + base64.b64encode(content).decode()
    return _Picture(source, width, height, caption, alternative)
