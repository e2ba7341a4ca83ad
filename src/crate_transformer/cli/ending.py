"""How a command ends: one sentence and an exit code for every error that is not a bug."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crate_transformer.cli.terminal import complain

_NO_MEMORY = re.compile(r"out of memory|not enough memory|allocate memory|bad_alloc|create a memory object", re.I)
_SIGPIPE = 13
_LONGEST = 2000  # letters of a sentence


def exit_code(run: Callable[[], int | None]) -> int:
    """Call ``run``, and print on standard error why it failed, if it did.

    The first argument of a ``KeyboardInterrupt`` may say what was kept; the second is the signal that caused it.

    Returns:
        What ``run`` returns, 0 for ``None``; 1 after a bug, whose traceback is shown; 2 for bad input, files that
        cannot be read or written, and too little memory; 128 plus the number after a signal (SIGPIPE if the output is
        closed).
    """
    with stopping() as received:
        try:
            code = run() or 0
            if sys.stdout:
                sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            kept = (
                stop.args[0] if stop.args else "the same command starts again, from what was saved if there is anything"
            )
            number = stop.args[1] if len(stop.args) > 1 else (received or [signal.SIGINT])[-1]
            how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
            complain(f"crate: {how}; {kept}")
            return 128 + number
        except BrokenPipeError:
            return 128 + _SIGPIPE
        except Exception as error:
            return _failed(error)
        finally:
            _discard_output()


def sentence(error: BaseException) -> str:
    """The one line that a user reads; the middle of a very long one is left out."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


@contextmanager
def stopping() -> Iterator[list[signal.Signals]]:
    """Inside, SIGTERM and SIGHUP interrupt like Ctrl-C, unless they are ignored; yields the signals received."""
    received: list[signal.Signals] = []

    def stop(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        raise KeyboardInterrupt

    ours = []
    if threading.current_thread() is threading.main_thread():  # which alone receives signals
        names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in names if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _failed(error: Exception) -> int:
    """Print the error; returns 2 if the user can fix it, else 1 after a traceback and a request to report it."""
    text = None
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        text = "there is not enough memory: choose a smaller batch, image or model, or close other programs"
    elif isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):  # raised at any point
        text = "a data-loading process was killed, most often because memory ran out: use fewer --workers"
    elif isinstance(error, (ValueError, OSError, ImportError)):
        text = sentence(error)
    if text and not os.environ.get("CRATE_DEBUG"):
        complain(f"crate: {text}")
        return 2
    for line in "".join(traceback.format_exception(error)).splitlines():
        complain(line)
    if text:
        return 2
    from crate_transformer import __version__

    complain(
        "crate: this is a bug in the program, not a problem with your input: please report it with the lines above "
        f"(crate-transformer {__version__})"
    )
    return 1


def _discard_output() -> None:
    """Discard what cannot be written to standard output, because the interpreter would try again at exit."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
