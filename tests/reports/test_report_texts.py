"""Texts of any origin, in figures, on the page and in tables: shown as they are, on nobody's command."""

import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from crate_transformer.reports import Section, Table, attention_figure, print_table, samples_figure, training_figure
from crate_transformer.reports.page import page_bytes
from crate_transformer.reports.style import figure_bytes

NAMES = ("cost_$5_$6", "$$", r"$\frac{", "猫 القط 🐱", "a\x1b[31mb\x07", "\udce9", "[red]x[/red] <script>&")
SHOWN = ("cost_$5_$6", "$$", r"$\frac{", "猫 القط 🐱", r"a\x1b[31mb\x07", r"\xe9", "[red]x[/red] <script>&")
PICTURES = np.zeros((1, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "shown"), [*zip(NAMES, SHOWN, strict=True)], ids=range(len(NAMES)))
def test_figures_show_names_as_they_are(name, shown):
    """Warnings are errors here: none about letters that no font has."""
    records = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    for figure in (
        attention_figure(PICTURES, {name: np.eye(2)[None]}, titles=[name], title=name),
        samples_figure(PICTURES, [name], title=name),
        training_figure({name: records}),
    ):
        with Image.open(io.BytesIO(figure_bytes(figure))) as image:
            assert image.format == "PNG"
        texts = [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]
        assert shown in texts and not any("\x1b" in text or "\udce9" in text for text in texts)
    assert len(figure_bytes(figure, ".pdf")) > 1000


def test_the_page_shows_names_as_they_are():
    table = Table(["class"], [[name] for name in NAMES], caption=NAMES[4])
    sections = [Section(name, name, table=table, code=name) for name in NAMES]
    page = page_bytes(NAMES[5], NAMES[6], sections, NAMES[4]).decode()
    assert "<script" not in page and "\x1b" not in page
    for shown in SHOWN[:6]:
        assert page.count(f"<h2>{shown}</h2>") == page.count(f"<code>{shown}</code>") == 1
    assert "[red]x[/red] &lt;script&gt;&amp;" in page


def test_tables_show_names_as_they_are(capsys):
    print_table(["[bold]kind[/bold]\x1b[1m"], [[name] for name in NAMES], title="[red]\x07")
    out = capsys.readouterr().out
    assert all(shown in out for shown in (*SHOWN, r"[bold]kind[/bold]\x1b[1m", r"[red]\x07"))
