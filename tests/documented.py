"""The blocks of shell and Python of a page of the documentation, run as they are written."""

import re
import shlex
from pathlib import Path

from crate_transformer.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"


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
            exec(compile(code, page, "exec"), known)
            continue
        for line in (shlex.split(line, comments=True) for line in code.splitlines() if line and line not in of_readme):
            assert line[0] == "crate", line
            try:
                status = main(line[1:])
            except SystemExit as end:
                status = end.code
            captured = capfd.readouterr()
            assert status == 0, f"{page}: {shlex.join(line)}\n{captured.out}{captured.err}"
    return known
