"""Printing for commands: text from files cannot control the terminal, and unsupported characters do not fail."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def say(*lines: object) -> None:
    """Print each argument as one line on standard output, with control characters shown as escapes.

    In distributed runs only rank 0 prints.
    """
    from crate_transformer.storage import printable  # here, so that help appears at once

    if os.environ.get("RANK", "0") != "0":
        return
    for line in lines:
        print(printable(line))


def complain(text: object) -> None:
    """Print one line on standard error, with control characters shown as escapes."""
    from crate_transformer.storage import printable

    if sys.stderr:
        print(printable(text), file=sys.stderr)


def print_json(data: object) -> None:
    """Print ``data`` as ASCII JSON."""
    import json

    from crate_transformer.storage import plain

    print(json.dumps(plain(data, None), indent=1))


@contextmanager
def terminal() -> Iterator[None]:
    """Inside, characters that a stream cannot encode are shown as escapes, and the package's warnings are printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log, warnings = logging.getLogger("crate_transformer"), _Warnings(logging.WARNING)
    log.addHandler(warnings)
    try:
        yield
    finally:
        log.removeHandler(warnings)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())
