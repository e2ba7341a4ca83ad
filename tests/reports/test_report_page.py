"""The page is one well-formed file that needs nothing else and trusts no text."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from crate_transformer.reports import Section, Table, print_table, training_figure, write_page

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = '<script>alert("x")</script> & <b>bold</b>'


class Page(HTMLParser):
    """Elements with attributes, visible text, and whether tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "green.png"
    Image.fromarray(np.full((30, 60, 3), (0, 200, 0), dtype=np.uint8)).save(path, dpi=(144, 144))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory, picture_file: Path) -> str:
    curve = training_figure({"CRATE": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]})
    table = Table(
        ["", "AUC", "parameters", "beats"],
        [["CRATE", 0.74321, 6090856, "4 of 5"], [HOSTILE, None, np.int64(7), None]],
        caption="Scores",
        highlight=[0],
    )
    sections = [
        Section("First & foremost", "One.\n\nTwo.", [(curve, "A curve", "falling curve")], table, "crate --help"),
        Section(HOSTILE, Markup("R<sup>c</sup> falls"), [(picture_file, HOSTILE, HOSTILE)]),
        Section("Third"),
        Section("Fourth", HOSTILE),
    ]
    path = write_page(tmp_path_factory.mktemp("page") / "new" / "report.html", HOSTILE, HOSTILE, sections, HOSTILE)
    return path.read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(source: str) -> None:
    page = Page(source)
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    images = page.all("img")
    assert len(images) == 2
    for attributes in images:
        head, data = attributes["src"].split(",")
        assert head == "data:image/png;base64"
        Image.open(io.BytesIO(base64.b64decode(data, validate=True))).load()
        assert attributes["alt"]


def test_text_is_escaped_and_markup_is_kept(source: str) -> None:
    page = Page(source)
    assert page.text.count(HOSTILE) == 9  # <title>, h1, lead, contents, h2, cell, caption, paragraph, footer
    assert page.all("img")[1]["alt"] == HOSTILE
    assert not page.all("b")
    assert len(page.all("sup")) == 1


def test_structure_and_access(source: str) -> None:
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert [tag for tag, _ in page.elements if tag in ("h1", "h2")] == ["h1"] + 4 * ["h2"]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers)) == 4
    assert [link["href"] for link in page.all("a")] == [f"#{identifier}" for identifier in identifiers]
    assert [cell["scope"] for cell in page.all("th")] == 4 * ["col"] + 2 * ["row"]
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source
    assert source.count("<p>") == 2 + 1 + 0 + 1 + 1  # paragraphs of the sections and the footer


def test_numbers_in_tables(source: str) -> None:
    for cell in ("0.743", "6,090,856", "\N{EN DASH}", "4 of 5"):
        assert f">{cell}</td>" in source
    assert source.count('<tr class="highlight">') == 1
    assert source.count('class="number"') == 2 * 3


def test_pictures_are_shown_at_their_size_in_inches(source: str) -> None:
    green = Page(source).all("img")[1]
    assert (green["width"], green["height"]) == ("40", "20")


def test_few_sections_need_no_contents(tmp_path) -> None:
    page = Page(write_page(tmp_path / "a.html", "Title", "", [Section("Only")]).read_text())
    assert not page.all("nav")
    assert not page.all("p")


def test_what_is_not_a_png_is_named(tmp_path, picture_file: Path) -> None:
    wrong = tmp_path / "photo.png"
    wrong.write_text("not a picture")
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(ValueError, match=r"photo\.png is not a PNG file"):
        write_page(target, "t", "", [Section("s", figures=[(wrong, "", "")])])
    wrong.write_bytes(picture_file.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"photo\.png is not a PNG file"):
        write_page(target, "t", "", [Section("s", figures=[(wrong, "", "")])])
    with pytest.raises(FileNotFoundError):
        write_page(target, "t", "", [Section("s", figures=[(tmp_path / "absent.png", "", "")])])
    assert target.read_text() == "old"


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 cells for 2 columns"):
        Table(["a", "b"], [[1, 2, 3]])


def test_the_terminal_table_has_the_same_numbers(capsys) -> None:
    print_table(["model", "AUC"], [["CRATE [bold]", 0.74321], ["ViT", None]], "Scores")
    shown = capsys.readouterr().out
    for part in ("Scores", "CRATE [bold]", "0.743", "\N{EN DASH}"):
        assert part in shown
