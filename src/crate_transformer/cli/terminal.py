"""What commands print: text from files can neither steer the terminal nor fail on its alphabet."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def say(*lines: object) -> None:
    """Print each argument as one line on standard output, with what could steer a terminal shown as escapes.

    Of processes that share a run only the first one does.
    """
    from crate_transformer.storage import printable  # here, so that help appears at once

    if os.environ.get("RANK", "0") != "0":
        return
    for line in lines:
        print(printable(line))


def complain(text: object) -> None:
    """Print one line on standard error in the same way."""
    from crate_transformer.storage import printable

    if sys.stderr:
        print(printable(text), file=sys.stderr)


def print_json(data: object) -> None:
    """Print ``data`` as JSON in ASCII, which every terminal shows and every program reads alike."""
    import json

    from crate_transformer.storage import plain

    print(json.dumps(plain(data, None), indent=1))


@contextmanager
def terminal() -> Iterator[None]:
    """Inside, letters that a stream does not know are shown as escapes, and the package's warnings are printed."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
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
