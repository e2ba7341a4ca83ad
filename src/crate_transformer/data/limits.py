"""How much memory data from outside may take; known before any is taken."""

import os

VARIABLE = "CRATE_MEMORY_LIMIT"


def memory_limit() -> int:
    """Bytes that one picture, or the masks of one, may take while it is read: 1 GiB.

    The environment variable ``CRATE_MEMORY_LIMIT`` sets another limit, in megabytes. The encoded file may have a
    quarter of it.

    Raises:
        ValueError: the variable is no positive number.
    """
    text = os.environ.get(VARIABLE, "1024")
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"the environment variable {VARIABLE} is {text!r}: give a number of megabytes, such as 4096")
    return int(text) << 20


def check_memory(needed: int, limit: int | None = None) -> None:
    """Refuse what takes more bytes than the limit.

    Raises:
        ValueError: it does; the sentence says how to allow more.
    """
    limit = memory_limit() if limit is None else limit
    if needed > limit:
        megabytes = -(-needed >> 20)
        raise ValueError(
            f"it needs {megabytes:,} MB of memory, more than the limit of {limit >> 20:,}; "
            f"{VARIABLE}={megabytes} in the environment allows it"
        )


def file_limit() -> int:
    """Bytes that one encoded picture or list may have."""
    return memory_limit() // 4
