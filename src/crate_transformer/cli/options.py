"""Options that were given."""

from collections.abc import Sequence


def given(command: object, names: Sequence[str]) -> list[str]:
    """Those of these options of a command that have another value than their default, as they are written."""
    changed = [name for name in names if getattr(command, name) != getattr(type(command), name)]
    return [f"--{name.replace('_', '-')}" for name in changed]
