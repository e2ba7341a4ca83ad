"""What a model that was taught no classes knows of them: the nearest neighbours of its features."""

import numpy as np
import torch

from crate_transformer.data import Source, eval_loader
from crate_transformer.evaluation import FrozenFeatures, knn
from crate_transformer.evaluation.features import Tokens, features_of, tokens_of
from crate_transformer.inspection import untrained_twin
from crate_transformer.models import Backbone
from crate_transformer.training.task import Processes

NEIGHBOURS, REFERENCES = 20, 10_000


def knn_probe(
    model: Backbone,
    trained_on: Source,
    held_out: Source,
    processes: Processes,
    *,
    num_workers: int,
    tokens: Tokens | None = None,
) -> dict[str, float]:
    """Top-1 of the vote of the 20 nearest among at most 10,000 of the pictures trained on, beside an untrained model
    and plain pixels; nothing where pictures have no class, or several. ``tokens`` as in ``frozen_features``."""
    if trained_on.labels is None or held_out.labels is None:
        return {}
    chosen = np.unique(np.linspace(0, len(trained_on) - 1, REFERENCES).astype(np.int64))  # sorted by class, mostly
    known = trained_on.subset(chosen.tolist()) if len(chosen) < len(trained_on) else trained_on
    models = {"model": model, "untrained": untrained_twin(model)}
    sides = []
    for source in (known, held_out):
        loader = eval_loader(
            source,
            model.preprocessing,
            batch_size=256,
            num_workers=num_workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        parts = processes.gather(features_of(models, loader, tokens_of(model, tokens, 1), 1))
        rows, labels = zip(*(part for part in parts if len(part[1])), strict=True)
        sides.append(({row: torch.cat([found[row] for found in rows]) for row in rows[0]}, torch.cat(labels)))
    (reference, reference_labels), (reported, reported_labels) = sides
    features = FrozenFeatures(
        reference=reference, reference_labels=reference_labels, reported=reported, reported_labels=reported_labels
    )
    found = knn(features, k=(NEIGHBOURS,)).rows
    return {f"knn_{row}": next(iter(by_k.values())).top1 for row, by_k in found.items()}


def describe_probe(numbers: dict[str, object]) -> str:
    """What ``knn_probe`` found, in words; nothing where it found nothing."""
    if "knn_model" not in numbers:
        return ""
    model, untrained, pixels = (numbers[f"knn_{row}"] for row in ("model", "untrained", "pixels"))
    return f"; {NEIGHBOURS} nearest neighbours top-1 {model:.1%} (untrained {untrained:.1%}, pixels {pixels:.1%})"
