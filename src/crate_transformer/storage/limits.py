"""How much memory data from outside may take, known before any is taken."""

import os

DEFAULT_LIMIT = 1 << 30  # bytes
_VARIABLE = "CRATE_MEMORY_LIMIT"
HOW_TO_RAISE = f"a larger {_VARIABLE} (megabytes) in the environment allows it"


def memory_limit() -> int:
    """Bytes that one file, one picture, or the masks of one may take while they are read: 1 GiB.

    The environment variable ``CRATE_MEMORY_LIMIT`` sets another limit, in megabytes. The file of a picture or of masks
    may have a quarter of it.

    Raises:
        ValueError: The variable is no positive number.
    """
    text = os.environ.get(_VARIABLE)
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise ValueError(f"the environment variable {_VARIABLE} is {text!r}: give a number of megabytes, such as 4096")
    return int(text) << 20


def check_memory(needed: int, limit: int) -> None:
    """Refuse, with ``ValueError``, what takes more bytes than the limit; the sentence says how to allow it."""
    if needed > limit:
        raise ValueError(
            f"it would take {-(-needed >> 20):,} MB of memory, more than the limit of {limit >> 20:,}; {HOW_TO_RAISE}"
        )
