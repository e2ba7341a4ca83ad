"""``crate probe``."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.options import given
from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.evaluation import KNN, Accuracy, FrozenFeatures, LinearProbe
    from crate_transformer.evaluation.features import Tokens
    from crate_transformer.models import Backbone
    from crate_transformer.recipes.probe_pictures import ProbePictures

_LOG = logging.getLogger("crate_transformer.cli")
RESULTS = "results.json"
CALLED = {"model": "the model", "untrained": "untrained model", "pixels": "pixels, 16 x 16"}


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Evaluate frozen features with k nearest neighbours and a linear classifier, beside controls.

    Both are fitted on the training part of DATA and evaluated on its held-out part. If 'crate train' held out images of
    DATA for this checkpoint, only these are used for evaluation. The output says what was used, and a warning says if
    the model may have been trained on it.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of bundled weights."""
    data: Annotated[Path, tyro.conf.Positional]
    """Folder or zip with one sub-folder per class, or with a 'train' and a 'val' part of such folders."""
    method: Literal["knn", "linear", "both"] = "both"
    """k nearest neighbours, a linear classifier, or both."""
    tokens: Literal["pooled", "class", "patches", "both"] | None = None
    """Pooled as for the classification head (default), class token, mean of the patch tokens, or both of these two."""
    layers: int = 1
    """Concatenate the tokens of this many last layers."""
    k: tuple[int, ...] = (10, 20, 100, 200)
    """Numbers of neighbours, capped at the number of images."""
    reference: Path | None = None
    """Other images to fit on, with the same classes; evaluation then uses all of DATA, or its held-out part."""
    limit: int | None = None
    """Fit on this many images of each class; default: all."""
    batch_size: int = 128
    workers: int = 0
    """Data-loading processes."""
    cache: Path | None = None
    """Folder that caches the features; images are identified by their paths and sizes."""
    output: Path = Path("runs/probe")
    """Folder for results.json."""
    overwrite: bool = False
    """Replace the results of another run in this folder."""

    def __call__(self) -> None:
        from crate_transformer.cli.outputs import SETTINGS, check_output, checksum
        from crate_transformer.evaluation import knn, linear_probe
        from crate_transformer.evaluation.features import tokens_of
        from crate_transformer.recipes.held_out import held_out_of
        from crate_transformer.recipes.probe_pictures import probe_pictures
        from crate_transformer.storage import json_bytes, write_files

        if not self.k or min(self.k) < 1:
            raise ValueError(f"--k is {self.k}: give at least one number of neighbours, each at least 1")
        if self.method == "linear" and given(self, ("k",)):
            raise ValueError("--k would be ignored: it is for k nearest neighbours, not for --method linear")
        model = self.load()
        tokens = tokens_of(model, self.tokens, self.layers)
        pictures = probe_pictures(self.data, held_out_of(model), reference=self.reference, per_class=self.limit)
        for warning in pictures.warnings:
            _LOG.warning("%s", warning)
        sides = {"reference": pictures.reference, "reported": pictures.reported}
        made_of = {
            "model": checksum(model),
            "tokens": tokens,
            "layers": self.layers,
            **{name: digest(images.keys(), images.labels) for name, images in sides.items()},
        }
        settings = {"command": "probe", **made_of, "method": self.method, "k": self.k}
        check_output(self.output, settings, overwrite=self.overwrite, writes=(RESULTS,))
        features = self.features(model, pictures, tokens, made_of)
        results: dict[str, object] = {
            "checkpoint": self.checkpoint,
            "data": self.data,
            "reference_used": pictures.reference_used,
            "images_used": pictures.reported_used,
            "warnings": pictures.warnings,
            "tokens": tokens,
            "layers": self.layers,
            "widths": {row: x.shape[1] for row, x in features.reference.items()},
        }
        say(f"fitted on {pictures.reference_used}; evaluated on {pictures.reported_used}")
        if self.method != "linear":
            results["knn"] = found = knn(features, k=self.k, show=True)
            print_knn(found)
        if self.method != "knn":
            results["linear_probe"] = found = linear_probe(features, show=True)
            print_linear(found)
        write_files(self.output, {RESULTS: json_bytes(results), SETTINGS: json_bytes(settings)})
        say(f"all results: {self.output / RESULTS}")

    def features(
        self, model: "Backbone", pictures: "ProbePictures", tokens: "Tokens", made_of: dict[str, object]
    ) -> "FrozenFeatures":
        """The features of both sets, from the cache if it has them."""
        from crate_transformer.data import eval_loader
        from crate_transformer.evaluation import frozen_features
        from crate_transformer.evaluation.feature_cache import cached_features
        from crate_transformer.progress import tracked

        def compute() -> "FrozenFeatures":
            batches = {"batch_size": self.batch_size, "num_workers": self.workers}
            loaders = [
                eval_loader(images, model.preprocessing, **batches)
                for images in (pictures.reference, pictures.reported)
            ]
            titles = ("features to fit on", "features to evaluate on")
            shown = [tracked(title, loader, len(loader)) for title, loader in zip(titles, loaders, strict=True)]
            return frozen_features(model, *shown, tokens=tokens, layers=self.layers)

        return cached_features(self.cache, made_of, compute)


def digest(keys: list[str], labels: list[int]) -> str:
    """32 hex digits that depend on the images, their order and their labels."""
    from hashlib import sha256

    return sha256(repr((keys, list(map(int, labels)))).encode()).hexdigest()[:32]


def print_knn(found: "KNN") -> None:
    """The table of the k nearest neighbours."""
    from crate_transformer.reports.table import print_table

    first = next(iter(found.rows.values()))
    rows = [[CALLED[row], *(f"{accuracy.top1:.1%}" for accuracy in by_k.values())] for row, by_k in found.rows.items()]
    print_table(
        ["", *(f"k = {number}" for number in first)],
        [*rows, [*majority(next(iter(first.values()))), *[""] * (len(first) - 1)]],
        f"k nearest neighbours: top-1, weights exp(cosine / {found.temperature:g})",
    )


def print_linear(found: "LinearProbe") -> None:
    """The table of the linear classifier."""
    from crate_transformer.reports.table import print_table

    rows = [
        [
            CALLED[row],
            f"{accuracy.top1:.1%}",
            "{:.1%} to {:.1%}".format(*accuracy.top1_interval),
            f"{accuracy.top5:.1%}",
            f"{found.choices[row].penalty:g}",
        ]
        for row, accuracy in found.rows.items()
    ]
    columns = ["", "top-1", "95% interval", "top-5", "penalty"]
    print_table(columns, [*rows, [*majority(found.rows["model"]), "", "", ""]], "linear classifier")
    say(found.split)
    for row, choice in found.choices.items():
        if choice.at_the_end:
            say(f"{CALLED[row]}: the best penalty is the last one tried; a better one may exist beyond it")
        if not choice.converged:
            say(f"{CALLED[row]}: the fit did not converge")


def majority(accuracy: "Accuracy") -> tuple[str, str]:
    """The row of a classifier that always predicts the most frequent class."""
    return "most frequent class", f"{accuracy.chance:.1%}"
