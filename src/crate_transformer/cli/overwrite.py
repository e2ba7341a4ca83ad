"""When a command may replace what an earlier one wrote."""

from pathlib import Path

from crate_transformer.storage import printable, read_file, read_json


def check_other_result(output: Path, described: Path, source: str, *keys: str) -> None:
    """Refuse to replace a result that was not made from the same source, so that only a repeated command replaces.

    Args:
        output: what would be replaced; nothing is checked where it does not exist.
        described: JSON file that names the source of an existing result, under nested ``keys``.

    Raises:
        ValueError: ``output`` exists and was made from something else, or nobody knows from what.
    """
    if not output.exists():
        return
    try:
        found = read_json(described)
        for key in keys:
            found = found[key]
    except (OSError, ValueError, LookupError, TypeError):
        found = None
    if found != source:
        raise ValueError(refusal(output))


def check_other_content(output: Path, content: bytes) -> None:
    """Refuse to replace a file by other content; raises ``ValueError``."""
    if output.exists() and (output.stat().st_size != len(content) or read_file(output, limit=len(content)) != content):
        raise ValueError(refusal(output))


def refusal(output: Path) -> str:
    """The sentence that a user reads."""
    return f"{printable(output)} exists and is something else: give --overwrite to replace it, or another output"
