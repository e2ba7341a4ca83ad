"""Where a model's weights come from, and what had to be inferred to load them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The history of a model's weights; ``str()`` tells it in a few lines, of nested metadata only the names."""

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
        lines = [f"{self.family} from {self.source} ({self.format})"]
        for title, values in sections.items():
            if values:
                lines.append(f"  {title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
        return "\n".join(lines)


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
