"""Text of strangers steers no terminal and no page."""

import pytest

from crate_transformer.storage import markdown, printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("tabby cat", "tabby cat"),
        ("Hündin 犬 🐕", "Hündin 犬 🐕"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\x9b31m", "a\\x9b31m"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("abc\u202efdp", "abc\\u202efdp"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (3, "3"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    assert printable(text).encode()


def test_lines_are_kept_where_they_are_wanted():
    assert printable("a\nb\x07", lines=True) == "a\nb\\x07"


def test_markdown_holds_no_markup():
    assert markdown("<script>`x` | [a](b)\n\x1b") == "&lt;script&gt;\\`x\\` \\| \\[a\\](b) \\x1b"
