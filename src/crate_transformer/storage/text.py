"""Escaping text from files for display on a terminal and in Markdown."""

import re
import unicodedata
from pathlib import PurePath

_JOINERS = "\u200c\u200d"  # part of ordinary words in several scripts, and of emoji
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (writing direction), surrogate, line separators


def printable(text: object, *, lines: bool = False) -> str:
    r"""``str(text)`` with everything that could control a terminal or hide text escaped, as in ``\x1b``.

    Args:
        lines: keep line breaks; otherwise they are escaped too, so that the result is one line.
    """
    kept = _JOINERS + ("\n" if lines else "")
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        _escaped(letter) if letter not in kept and unicodedata.category(letter) in _HIDDEN else letter
        for letter in text
    )


def markdown(text: object) -> str:
    """``text`` on one line for a Markdown file, with HTML, links, code and table cells escaped."""
    safe = printable(re.sub(r"\s+", " ", str(text)))
    safe = safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`\[\]])", r"\\\1", safe)


def file_stem(number: int, path: str) -> str:
    """A file name without suffix for results of ``path``; the number distinguishes equal names.

    Invisible characters, and characters that a file system may refuse, become ``_``; long names are cut.
    """
    name = unicodedata.normalize("NFC", PurePath(path).stem)
    name = "".join("_" if unicodedata.category(c) in _HIDDEN or c in '\\/:*?"<>|' else c for c in name)
    return f"{number:04d}-{name.encode()[:120].decode(errors='ignore')}"


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii") if code > 0xFF or code < 0x20 else f"\\x{code:02x}"
