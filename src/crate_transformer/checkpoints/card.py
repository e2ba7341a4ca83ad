"""Model cards: what a folder of weights says about itself to people."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from crate_transformer.models import Backbone, Model

_FRONT = "---\n{front}\n---\n\n"


def model_card(model: Model, name: str, metadata: Mapping[str, object]) -> str:
    """Markdown with the front matter that the Hugging Face hub reads: architecture, numbers, preprocessing, provenance.

    Args:
        name: the title, and what the lines of code load.
        metadata: numbers and facts about these weights; nested dictionaries become rows ``outer / inner``. An entry
            ``license`` goes into the front matter.
    """
    family = type(model).__name__
    front = [f"library_name: crate-transformer\ntags: [white-box, {family.lower()}]"]
    if isinstance(model, Backbone):
        front.append(f"pipeline_tag: {'image-classification' if model.num_classes else 'image-feature-extraction'}")
    if "license" in metadata:
        front.append(f"license: {_line(metadata['license'])}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sections = [
        f"# {name}\n\nA {family} with {parameters:,} parameters, made with crate-transformer.\n",
        f'```python\nimport crate_transformer as ct\n\nmodel = ct.load_checkpoint("{name}")\n```\n',
        _table("Numbers and facts", metadata),
        _table("Architecture", dataclasses.asdict(model.config)),
    ]
    if isinstance(model, Backbone):
        sections.append(_table("Preprocessing", dataclasses.asdict(model.preprocessing)))
    if (provenance := getattr(model, "provenance", None)) is not None:
        sections.append(f"## Provenance\n\n```\n{provenance}\n```\n")
    return _FRONT.format(front="\n".join(front)) + "\n".join(filter(None, sections))


def _table(title: str, values: Mapping[str, object]) -> str:
    rows = [f"| {_line(name)} | {_line(value)} |" for name, value in _flat(values)]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *rows, ""]) if rows else ""


def _flat(values: Mapping[str, object], outer: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{outer}{name} / ")
        else:
            yield f"{outer}{name}", value


def _line(value: object) -> str:
    """On one line of a table, whatever it holds."""
    return re.sub(r"\s+", " ", str(value)).replace("|", r"\|")
