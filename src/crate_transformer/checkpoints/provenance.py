"""Where a model's weights come from, and what had to be inferred to load them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crate_transformer.storage import printable

_LONGEST, _MOST = 200, 20  # letters of a value, values of a line that are shown


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The history of a model's weights; ``str()`` tells it in a few lines, of nested metadata only the names.

    The lines are safe to print: what a file says about itself is shortened, and control characters are shown escaped.
    """

    source: str
    """File, folder, hub id or model name."""
    format: str
    """Kind of checkpoint."""
    family: str
    """Name of the model class."""
    inferred: Mapping[str, object] = field(default_factory=dict)
    """Configuration read off the tensors, or off the published sizes."""
    assumed: Mapping[str, object] = field(default_factory=dict)
    """Configuration that no tensor tells and nobody gave: the family's defaults."""
    hints: Mapping[str, object] = field(default_factory=dict)
    """Configuration given by the caller."""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Stored tensors that the model does not have, each with the reason."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """What the checkpoint says about itself: recipe, accuracy, epoch."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """What ``str()`` joins: model and source, then what is known of each kind."""
        sections = {
            "found in the tensors": self.inferred,
            "given": self.hints,
            "assumed, since no tensor tells": self.assumed,
            "left out": _by_reason(self.dropped),
            "stored with the weights": {
                name: "{...}" if isinstance(value, Mapping | list | tuple) else value
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
    """``value`` on one line of at most 200 letters, safe to print; of a longer list only its length."""
    if isinstance(value, list | tuple) and len(value) > _MOST:
        return f"({len(value):,} values)"
    text = str(value)
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _by_reason(dropped: Mapping[str, str]) -> dict[str, str]:
    """Every name with its reason; of more than three for the same reason only the first and their number."""
    told = {}
    for reason in dict.fromkeys(dropped.values()):
        names = [name for name in dropped if dropped[name] == reason]
        if len(names) > 3:
            told[names[0]] = f"and {len(names) - 1} more ({reason})"
        else:
            told |= dict.fromkeys(names, f"({reason})")
    return told
