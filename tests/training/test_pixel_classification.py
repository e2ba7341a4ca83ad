"""Segmentation: its loss against the equation, and a run on generated digits that beats its controls."""

import pytest
import torch
from small_problem import PLAIN

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.data import VOID, Split, digits, masked_digits
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, build_model
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.run import fit
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.segmentation import Segmentation

TINY = {"img_size": 16, "depth": 2, "embed_dim": 64}


def test_the_loss_is_the_sum_over_pixels_with_a_class_divided_by_all():
    backbone = build_model("crate_micro_patch4_32", img_size=8, depth=1, embed_dim=8, num_heads=2)
    decoder = DEPICTConfig(num_classes=3, depth=1, num_heads=1, head_dim=4)
    model = Segmenter(SegmenterConfig(backbone=backbone.config, decoder=decoder), backbone)
    task = Segmentation(SegmentationConfig(freeze_backbone=True), model, PLAIN)
    images, masks = torch.randint(0, 256, (2, 3, 8, 8)).byte(), torch.randint(0, 3, (2, 8, 8)).byte()
    masks[1, :5] = VOID
    batch = {"images": images, "masks": masks, "positions": torch.arange(2)}
    loss, _ = task(batch, Progress(0, 1, 0))
    log = model(task.normalise(images)).log_softmax(dim=1)
    pixels = [-log[i, int(masks[i, y, x]), y, x] for i, y, x in (masks != VOID).nonzero().tolist()]
    torch.testing.assert_close(loss, torch.stack(pixels).sum() / masks.numel())
    parts = [task({name: values[[i]] for name, values in batch.items()}, Progress(0, 1, 0))[0] for i in range(2)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss)  # as --accumulate and processes add them up
    loss.backward()
    assert all((p.grad is None) == name.startswith("backbone.") for name, p in model.named_parameters())
    assert not task.train().model.backbone.training
    empty = batch | {"masks": torch.full_like(masks, VOID)}
    assert task(empty, Progress(0, 1, 0))[0] == 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("attention", ["cross", pytest.param("self", marks=pytest.mark.slow)])
def test_digits_are_segmented_better_than_by_the_controls(attention, tmp_path):
    data = [
        masked_digits(digits(part, count, size=16), by_class=False) for part, count in (("train", 2000), ("test", 80))
    ]
    experiment = Experiment(
        model="crate_micro_patch4_32",
        options=TINY,
        task=SegmentationConfig(attention=attention, decoder_depth=2),
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=8e-3),
        schedule=ScheduleConfig(steps=80, batch_size=32, warmup_steps=20),
        augment=PLAIN,
    )
    split = Split(*data, "generated", divided_here=False)
    done = fit(experiment, split, tmp_path / "run", data_name="digits", show=False)
    scores = done.metrics
    assert scores["miou"] > max(scores["prior_miou"], scores["majority_miou"]) + 0.03
    assert done.summary.startswith(f"mIoU {scores['miou']:.1%} of 2 classes on 80 images")
    assert done.model.class_names == ("background", "digit") and isinstance(done.model, Segmenter)
    again = fit(experiment, split, tmp_path / "run", data_name="digits", show=False)
    assert again.metrics["miou"] == pytest.approx(scores["miou"], rel=1e-5)  # rounded in its file


def test_a_decoder_without_layers_is_refused():
    with pytest.raises(ValueError, match="decoder_depth is 0"):
        SegmentationConfig(decoder_depth=0)


@pytest.mark.parametrize(
    ("augment", "options", "sentence"),
    [
        (AugmentConfig(mixup=0.2), {}, "here each pixel has a class: leave them out"),
        (AugmentConfig(randaugment=2), {}, "shifts images, but not their masks: leave it out"),
        (AugmentConfig(erase=0.2), {}, "not their classes: leave it out"),
        (AugmentConfig(), {"global_pool": "avg"}, "global_pool is for one class per image"),
    ],
)
def test_what_does_not_fit_pixels_is_refused(tmp_path, augment, options, sentence):
    data = masked_digits(digits("train", 8, size=16))
    experiment = Experiment(
        model="crate_micro_patch4_32", options=TINY | options, task=SegmentationConfig(), augment=augment
    )
    with pytest.raises(ValueError, match=sentence):
        fit(experiment, Split(data, data, "generated", divided_here=False), tmp_path / "run", data_name="digits")
