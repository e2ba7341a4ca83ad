"""The blocks of shell and Python of a page of the documentation, run as they are written."""

import re
import shlex
from pathlib import Path

from crate_transformer.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
SMALLER = {
    "--segmentation": ("--maskcut-size", "64", "--size", "64"),
    "inspect": ("--size", "64"),
    "segment": ("--size", "128"),
    "export": ("--no-dynamic",),
}
"""Options that leave little of the work of a command with this word, where it does not say otherwise itself."""
FASTER = {"crate-small.onnx": "crate-small.pt2", "20": "10"}
"""What stands for the longest work in shell: docs/how-to/export.md converts to ONNX, and training runs for half of 20
steps or epochs."""
SHORTER = {
    r"steps, batch = 60, 64": "steps, batch = 6, 16",
    r"(ct\.explore\(model, [^()]+)\)": r"\1, size=48, effects=False)",
    r"(export_program\(folded|program\), folded)\)": r"\1, dynamic=False)",
}
"""The same in Python."""


def shown(file):
    """Language and content of every block of shell or Python."""
    return re.findall(r"(?ms)^```(sh|python)\n(.*?)^```$", file.read_text(encoding="utf-8"))


def run_page(page, capfd, *, without=None):
    """Run all blocks in their order, the Python in one namespace; what that holds at the end.

    Blocks that mention the package ``without`` are left out, and commands that README shows, which run with it.
    """
    blocks = shown(DOCS / page)
    of_readme = "".join(code for language, code in shown(DOCS.parent / "README.md") if language == "sh").splitlines()
    assert blocks, f"{page} shows nothing that runs"
    known = {"__name__": page}
    for language, code in blocks:
        if without and re.search(rf"\b{without}\b", code):
            continue
        if language == "python":
            run_python(code, page, known)
            continue
        for line in code.splitlines():
            if line and line not in of_readme:
                run_line(shlex.split(line, comments=True), capfd)
    return known


def run_python(code, name, known):
    """Run a block in this namespace."""
    for long, short in SHORTER.items():
        code = re.sub(long, short, code)
    exec(compile(code, name, "exec"), known)


def run_line(words, capfd):
    """Run ``crate ...`` in this process; it must succeed."""
    assert words[0] == "crate", words
    smaller = [option for word, options in SMALLER.items() if word in words for option in options]
    try:
        status = main([words[1], *smaller, *(FASTER.get(word, word) for word in words[2:])])
    except SystemExit as end:
        status = end.code
    captured = capfd.readouterr()
    assert status == 0, f"{shlex.join(words)}\n{captured.out}{captured.err}"
