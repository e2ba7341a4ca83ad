"""The directive ``crate-help NAME``: what ``crate NAME --help`` prints."""

import os
import subprocess
import sys
import textwrap

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLUMNS = 88


class CommandHelp(SphinxDirective):
    """The help text of a command of the shell, as a literal block."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        command = [sys.executable, "-m", "crate_transformer", *self.arguments, "--help"]
        environment = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        lines = [textwrap.fill(line, COLUMNS) if len(line) > COLUMNS else line for line in done.stdout.splitlines()]
        return [nodes.literal_block(text="\n".join(lines), language="none")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("crate-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
