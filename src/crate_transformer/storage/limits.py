"""Memory limits for untrusted data, checked before memory is allocated."""

import os

DEFAULT_LIMIT = 1 << 30  # bytes
_VARIABLE = "CRATE_MEMORY_LIMIT"
HOW_TO_RAISE = f"set the environment variable {_VARIABLE} (megabytes) to a larger value to allow it"


def memory_limit() -> int:
    """Largest number of bytes that reading one file, one image, or the masks of one image may take: 1 GiB.

    The environment variable ``CRATE_MEMORY_LIMIT`` sets another limit in megabytes. An image file or a mask file may
    have a quarter of it.

    Raises:
        ValueError: The variable is not a positive number.
    """
    text = os.environ.get(_VARIABLE)
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise ValueError(f"the environment variable {_VARIABLE} is {text!r}: set a number of megabytes, such as 4096")
    return int(text) << 20


def check_memory(needed: int, limit: int) -> None:
    """Raise ``ValueError`` if more bytes than the limit are needed; the message says how to raise the limit."""
    if needed > limit:
        raise ValueError(
            f"it would take {-(-needed >> 20):,} MB of memory, more than the limit of {limit >> 20:,}; {HOW_TO_RAISE}"
        )
