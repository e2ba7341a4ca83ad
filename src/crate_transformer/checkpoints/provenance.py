"""Where the weights of a model come from, and what was inferred to load them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crate_transformer.storage import printable

_LONGEST, _MOST = 200, 20  # characters of a value and values of a line that are shown


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of a model's weights; ``str()`` gives a short summary, with only the names of nested metadata.

    The summary is safe to print: texts from files are shortened, and control characters are escaped.
    """

    source: str
    """File, folder, hub id or model name."""
    format: str
    """Format of the checkpoint."""
    family: str
    """Name of the model class."""
    inferred: Mapping[str, Any] = field(default_factory=dict)
    """Configuration inferred from the tensors or the published sizes."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """Configuration that cannot be inferred and was not given: defaults of the family."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """Configuration given by the caller."""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Stored tensors that the model does not have, each with the reason."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the checkpoint, such as recipe, accuracy, epoch."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The lines of ``str()``: model and source, then one line per kind of information."""
        sections = {
            "inferred from the tensors": self.inferred,
            "given": self.hints,
            "assumed (not in the checkpoint)": self.assumed,
            "dropped": _by_reason(self.dropped),
            "stored with the weights": {
                name: "(not shown)" if isinstance(value, Mapping | list | tuple) else value
                for name, value in self.metadata.items()
            },
        }
        lines = [printable(f"{self.family} from {self.source} ({self.format})")]
        for title, values in sections.items():
            if values:
                shown = [f"{shorten(name)} {shorten(value)}" for name, value in list(values.items())[:_MOST]]
                more = [f"and {len(values) - _MOST:,} more"] if len(values) > _MOST else []
                lines.append(f"  {title}: " + ", ".join(shown + more))
        return lines


def shorten(value: object) -> str:
    """``value`` on one line of at most 200 characters, safe to print; a long list as its length."""
    if isinstance(value, list | tuple) and len(value) > _MOST:
        return f"({len(value):,} values)"
    text = str(value)
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _by_reason(dropped: Mapping[str, str]) -> dict[str, str]:
    """Every name with its reason; for more than three names with the same reason, the first and their number."""
    told = {}
    for reason in dict.fromkeys(dropped.values()):
        names = [name for name in dropped if dropped[name] == reason]
        if len(names) > 3:
            told[names[0]] = f"and {len(names) - 1} more ({reason})"
        else:
            told |= dict.fromkeys(names, f"({reason})")
    return told
