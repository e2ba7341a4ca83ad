"""Model cards."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from torch import nn

from crate_transformer.checkpoints.provenance import shorten
from crate_transformer.models import Segmenter, VisionModel, innermost
from crate_transformer.storage import markdown, printable

_FRONT = "---\n{front}\n---\n\n"
_MOST_ROWS = 200


def model_card(model: nn.Module, name: str, metadata: Mapping[str, Any]) -> str:
    """Markdown with front matter for the Hugging Face hub: architecture, metrics, preprocessing, provenance.

    Args:
        name: the title, and the name in the code example.
        metadata: metrics and facts about these weights; nested dictionaries become rows ``outer / inner``, and long
            lists are shown by their length. An entry ``license`` goes into the front matter. HTML and Markdown in texts
            are escaped.
    """
    model = innermost(model)
    family = type(model).__name__
    front = [f"library_name: crate-transformer\ntags: [white-box, {family.lower()}]"]
    if isinstance(model, Segmenter):
        front.append("pipeline_tag: image-segmentation")
    elif isinstance(model, VisionModel):
        front.append(f"pipeline_tag: {'image-classification' if model.num_classes else 'image-feature-extraction'}")
    if re.fullmatch(r"[A-Za-z][\w.+-]{0,50}", str(metadata.get("license"))) and metadata.get("license") is not None:
        front.append(f"license: {metadata['license']}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    quoted = json.dumps(printable(name), ensure_ascii=False)
    sections = [
        f"# {markdown(name)}\n\nA {family} with {parameters:,} parameters, made with crate-transformer.\n",
        f"```python\nimport crate_transformer as ct\n\nmodel = ct.load_checkpoint({quoted})\n```\n",
        _table("Metrics and facts", metadata),
        _table("Architecture", dataclasses.asdict(model.config)),
    ]
    if isinstance(model, VisionModel):
        sections.append(_table("Preprocessing", dataclasses.asdict(model.preprocessing)))
    if (provenance := getattr(model, "provenance", None)) is not None:
        first, *others = provenance.lines()
        told = [markdown(first), "", *(f"- {markdown(line.strip())}" for line in others)]
        sections.append("## Provenance\n\n" + "\n".join(told).strip() + "\n")
    return _FRONT.format(front="\n".join(front)) + "\n".join(filter(None, sections))


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = [
        f"| {markdown(shorten(name))} | {markdown(shorten(value))} |"
        for name, value in islice(_flat(values), _MOST_ROWS)
    ]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *rows, ""]) if rows else ""


def _flat(values: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{outer}{name} / ")
        else:
            yield f"{outer}{name}", value
