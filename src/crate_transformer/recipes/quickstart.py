"""``crate quickstart``: train on this machine, look inside, and report what is seen and what is not."""

import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import crate_transformer
from crate_transformer.checkpoints import create_model
from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.tasks import ClassificationConfig
from crate_transformer.data import Split, digits, normalise, photograph
from crate_transformer.evaluation import SegmentationReport, attention_segmentation
from crate_transformer.inspection import (
    attention_maps,
    class_names,
    frozen,
    head_summary,
    layerwise_objective,
    look,
    untrained_twin,
)
from crate_transformer.inspection.controls import UNTRAINED_MODELS
from crate_transformer.layers.fast_products import fast_products
from crate_transformer.models import Backbone
from crate_transformer.recipes import findings
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.explorer_pages import digits_page, photographs_page
from crate_transformer.recipes.photographs import SUBJECTS, answer, knowledge
from crate_transformer.recipes.run import Fit, fit
from crate_transformer.recipes.stages import Stages
from crate_transformer.reports.quickstart import NAMES, QuickstartResults, quickstart_page
from crate_transformer.storage import write_json
from crate_transformer.training.metrics import read_metrics

BUNDLED = "crate_compact_patch8_64.tiny_imagenet_100_caltech"
SECONDS = {
    "the bundled model": 1.0,
    "generating images of digits": 2.0,
    "training CRATE": 68.0,
    "training the ViT": 60.0,
    "measuring": 7.0,
    "the interactive pages": 7.0,
    "the report": 4.0,
}
"""Times of the documented run, on two cores with fast 16-bit products (docs/results.md)."""
SLOWER = 1.5
"""Factor on cores without them."""
EXECUTION = ExecutionConfig(checkpoint_every=100)
SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """Sizes of the quickstart; the defaults are the documented run."""

    steps: int = 900
    """Optimiser steps of each of the two models."""
    train_images: int = 20_000
    """Generated training images."""
    test_images: int = 1000
    """Generated test images; accuracy is measured on all, attention on the first 400."""
    seed: int = 0


def crate_digits(config: QuickstartConfig) -> Experiment:
    """A CRATE with 315,370 parameters on digits over photographs: ``crate quickstart``, measured in docs/results.md."""
    return _digits_experiment("crate_micro_patch4_32", config)


def vit_digits(config: QuickstartConfig) -> Experiment:
    """A ViT with 308,042 parameters and the same number of steps."""
    return _digits_experiment("vit_micro_patch4_32", config)


def _digits_experiment(model: str, config: QuickstartConfig) -> Experiment:
    return Experiment(
        model=model,
        task=ClassificationConfig(label_smoothing=0.0),
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=8e-3),
        schedule=ScheduleConfig(steps=config.steps, batch_size=64, warmup_steps=min(100, config.steps // 5)),
        loop=LoopConfig(seed=config.seed),
        augment=AugmentConfig(min_area=1.0, flip=False),
    )


def quickstart(folder: Path, config: QuickstartConfig, *, overwrite: bool = False, show: bool = True) -> Path:
    """Run everything, resuming from an earlier run in ``folder``, or with ``overwrite`` replacing one with other
    settings; returns the path of the report.
    """
    began = time.monotonic()
    experiments = {"crate": crate_digits(config), "vit": vit_digits(config)}
    stages = Stages(expected_seconds(config), show=show)
    stages.begin("the bundled model")
    bundled = create_model(BUNDLED, pretrained=True)
    about = bundled.provenance.metadata
    looks = [look(bundled, photograph(name), name, short_side=24 * bundled.patch_size[0]) for name in SUBJECTS]
    answers = {seen.name: answer(seen.name, seen, class_names(bundled)) for seen in looks}
    knows = knowledge(class_names(bundled), about["metrics"]["top1"], about["metrics"]["count"])
    if show:
        print("\n".join([knows, *answers.values()]))

    stages.begin("generating images of digits")
    train = digits("train", config.train_images, seed=config.seed)
    test = digits("test", config.test_images, seed=config.seed)
    selection = digits("selection", 300, seed=config.seed)
    split, fits = Split(train, test, "generated", divided_here=False), {}
    for key, experiment in experiments.items():
        stages.begin({"crate": "training CRATE", "vit": "training the ViT"}[key])
        fits[key] = fit(
            experiment, split, folder / key, data_name="digits", execution=EXECUTION, overwrite=overwrite, show=show
        )
    stages.begin("measuring")
    models = {key: done.model for key, done in fits.items()}

    preprocessing = models["crate"].preprocessing
    images = normalise(test.images, preprocessing)
    reported = slice(0, min(400, len(images)))
    report = attention_segmentation(
        models,
        images[reported],
        test.masks[reported],
        test.images[reported],
        selection=(normalise(selection.images, preprocessing), selection.masks, selection.images),
    )
    measured, (layer, _) = images[:256], report.chosen_head("crate")
    untrained = [untrained_twin(models["crate"], seed) for seed in range(UNTRAINED_MODELS)]
    objectives = [layerwise_objective(models["crate"], measured, untrained=twin) for twin in untrained]
    heads = [head_summary(models["crate"], measured, layer=layer, untrained=twin) for twin in untrained]
    shown = images[:SHOWN]
    twins = {f"{key}_untrained": untrained_twin(model) for key, model in models.items()}
    statuses = [
        findings.bundled_segmentation(about["attention"]),
        findings.segmentation(report, "crate", "CRATE"),
        findings.segmentation(report, "vit", "the ViT"),
        findings.comparison(report, "crate", "vit", NAMES),
        findings.compression(objectives),
        findings.sparsification(objectives),
        findings.semantic_heads(heads),
    ]
    stages.begin("the interactive pages")
    photographs_page(folder, BUNDLED, bundled)
    digits_page(folder, {NAMES[key]: model for key, model in models.items()}, test, selection)
    metrics = {
        **quickstart_metrics(fits, report),
        "findings": statuses,
        "seed": config.seed,
        "steps": config.steps,
        "test_images": len(test),
        "versions": versions(),
        "seconds": time.monotonic() - began + sum(done.earlier_seconds for done in fits.values()),
        "peak_memory_mb": peak_memory_mb(),
    }
    results = QuickstartResults(
        looks=looks,
        bundled={**about["attention"], "knows": knows},
        answers=answers,
        pictures=test.images[:SHOWN].permute(0, 2, 3, 1).numpy(),
        masks=test.masks[:SHOWN].numpy(),
        labels=[test.classes[i] for i in test.labels[:SHOWN].tolist()],
        predictions={key: predictions(model, shown) for key, model in models.items()},
        maps={key: attention_maps(model, shown) for key, model in (models | twins).items()},
        objectives={NAMES["crate"]: objectives[0], NAMES["vit"]: layerwise_objective(models["vit"], measured)},
        segmentation=report,
        heads=heads[0],
        records={key: read_metrics(done.folder / "metrics.jsonl") for key, done in fits.items()},
        metrics=metrics,
        findings=[(found.phenomenon, found.sentence) for found in statuses],
        how=how_it_was_made(metrics),
        command=f"crate quickstart --output {folder} --steps {config.steps} --seed {config.seed}",
    )
    stages.begin("the report")
    write_json(folder / "metrics.json", metrics)
    return quickstart_page(results, folder)


def expected_seconds(config: QuickstartConfig) -> dict[str, float]:
    """Expected seconds of each stage on two cores such as these."""
    slower = 1.0 if fast_products(torch.bfloat16) else SLOWER
    training = config.steps / QuickstartConfig().steps
    return {stage: slower * value * (training if "training" in stage else 1) for stage, value in SECONDS.items()}


def quickstart_metrics(fits: dict[str, Fit], report: SegmentationReport) -> dict[str, object]:
    """Accuracy, attention scores with controls, parameters and times of both models."""
    rows = ("crate", "crate_untrained", "crate_shuffled", "vit", "vit_untrained", "vit_shuffled")
    rows += ("mean_mask_prior", "brightness", "contrast", "median_difference", "crate_centred", "vit_centred")
    details = report.to_dict()
    return {
        "accuracy": {key: done.metrics["top1"] for key, done in fits.items()},
        "attention_auc": {row: report.auc[row].mean for row in rows},
        "attention_miou": {row: report.miou[row].mean for row in rows},
        "attention_choices": {metric: details[metric] for metric in ("auc", "miou")},
        "attention_rules": {key: details[key] for key in ("choice_rule", "threshold_rule", "grid", "beats")},
        "parameters": {key: done.metrics["parameters"] for key, done in fits.items()},
        "training_seconds": {key: done.metrics["seconds"] for key, done in fits.items()},
        "precision": {key: done.metrics["precision"] for key, done in fits.items()},
    }


def predictions(model: Backbone, images: torch.Tensor) -> list[str]:
    """Names of the predicted classes."""
    with frozen(model):
        return [class_names(model)[i] for i in model(images).argmax(dim=1).tolist()]


def versions() -> dict[str, str]:
    """Software versions and machine."""
    return {
        "crate_transformer": crate_transformer.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def how_it_was_made(metrics: dict[str, Any]) -> str:
    """A sentence with seed, versions and cost."""
    software = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    return (
        f"Seed {metrics['seed']}; {software}. {metrics['seconds']:.0f} seconds in all, of which training CRATE took "
        f"{metrics['training_seconds']['crate']:.0f} and the ViT {metrics['training_seconds']['vit']:.0f} "
        f"({metrics['precision']['crate']}); peak memory {metrics['peak_memory_mb']:.0f} MB."
    )
