"""docs/models.md tells the truth about every model."""

import re
from pathlib import Path

import pytest
import torch

from crate_transformer.models import LANGUAGE_MODELS, MODELS

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+) \|", PAGE, re.M)}


def test_every_model_stands_on_the_page():
    assert set(ROWS) == set(MODELS) | set(LANGUAGE_MODELS)


@pytest.mark.parametrize("name", sorted(MODELS | LANGUAGE_MODELS))
def test_sizes_and_parameters(name):
    model_class, config = (MODELS | LANGUAGE_MODELS)[name]
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in model_class(config).parameters())
    assert ROWS[name] == (str(config.embed_dim), str(config.depth), str(config.num_heads), f"{parameters:,}")
