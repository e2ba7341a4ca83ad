"""Starting from a trained model: other sizes, other classes, a frozen backbone."""

import dataclasses

import pytest
import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.data import Split
from crate_transformer.models import build_model
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.run import fit
from crate_transformer.recipes.start import seeded_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "drop_path_rate": 0.5}
CLASSES = ("a", "b", "c")
NAMES = {"crate": "crate_micro_patch4_32", "mae": "crate_mae_micro_patch4_32", "tost": "tost_tiny_patch16_224"}


@pytest.fixture
def tune(tmp_path, tiny_images):
    def tune(kind="crate", classes=CLASSES, side=16, task=None, **options):
        parent = build_model(NAMES[kind], **TINY, num_classes=len(classes)).eval()
        parent.class_names = classes or None
        save_checkpoint(parent, tmp_path / "parent")
        experiment = Experiment(
            model="crate_micro_patch4_32",
            start_from=str(tmp_path / "parent"),
            options=options,
            task=task or ClassificationConfig(),
            optimiser=OptimiserConfig(optimizer="muon"),
            schedule=ScheduleConfig(steps=3, batch_size=6, warmup_steps=0),
        )
        split = Split(tiny_images(side), tiny_images(side, count=9, seed=1), "noise", divided_here=False)
        return parent, fit(experiment, split, tmp_path / "run", data_name="noise", show=False).model

    return tune


@pytest.mark.parametrize("kind", ["crate", "mae", "tost"])
def test_a_frozen_backbone_stays_bit_for_bit(tune, kind):
    parent, tuned = tune(kind, task=ClassificationConfig(freeze_backbone=True))
    before, after = parent.state_dict(), tuned.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_other_sizes_keep_the_head_of_the_same_classes(tune):
    _, tuned = tune(img_size=24, patch_size=2, drop_path_rate=0.0)
    assert (tuned.img_size, tuned.patch_size, tuned.config.drop_path_rate) == ((24, 24), (2, 2), 0.0)
    assert tuned.preprocessing.img_size == (24, 24)


def test_what_the_model_starts_with(tune, tmp_path):
    parent, _ = tune()
    experiment = Experiment(model="", start_from=str(tmp_path / "parent"), options={"img_size": 24, "patch_size": 2})
    start = seeded_model(experiment, CLASSES)
    assert torch.equal(start.head.weight, parent.head.weight)
    fresh = seeded_model(experiment, ("a", "b"))
    assert fresh.num_classes == 2
    pooled = dataclasses.replace(experiment, options={"global_pool": "avg"})
    assert not torch.equal(seeded_model(pooled, CLASSES).head.weight, parent.head.weight)
    with pytest.raises(ValueError, match="img_size 16 is not a multiple of patch_size 5"):
        seeded_model(dataclasses.replace(experiment, options={"patch_size": 5}), CLASSES)
