"""Classification of pictures that may have several classes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from small_problem import PLAIN, make_images

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.data import ArrayImages
from crate_transformer.evaluation.several_classes import mean_average_precision
from crate_transformer.models import Preprocessing, ViT, ViTConfig
from crate_transformer.training.processes import Processes
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.tasks.distillation import Distillation, Teacher


def small_model():
    torch.manual_seed(1)
    return ViT(ViTConfig(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=3))


def several(count=24):
    """A picture is light or not, and its right half red or not; the third class is never there."""
    images = make_images()
    red, pixels = (torch.arange(24) // 2) % 2, images.images.clone()
    pixels[red == 1, 1:, :, 4:] = 0
    targets = torch.stack([images.labels, red, torch.zeros(24, dtype=torch.int64)], dim=1).float()
    found = ArrayImages(pixels, None, ("light", "red", "never"), targets=targets)
    return found.subset(range(count))


def task(model, augment=PLAIN, smoothing=0.1):
    found = Classification(ClassificationConfig(label_smoothing=smoothing), model, augment)
    found.labelled = False
    return found


def batch_of(images):
    return {"images": images.images, "targets": images.targets, "positions": torch.arange(len(images))}


def test_the_loss_is_the_binary_cross_entropy_of_each_class():
    objective, images = task(small_model(), smoothing=0.2), several(6)
    loss, _ = objective(batch_of(images), Progress(0, 1, 0))
    logits = objective.model(objective.normalise(images.images))
    smooth = images.targets * 0.8 + 0.1
    expected = -(smooth * logits.sigmoid().log() + (1 - smooth) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


def test_targets_are_mixed_with_the_pictures():
    objective, images = task(small_model(), AugmentConfig(min_area=1.0, flip=False, mixup=1.0), 0.0), several(6)
    mixed, targets = objective.inputs(batch_of(images), Progress(0, 1, 0))
    plain = objective.normalise(images.images)
    assert not torch.equal(targets, images.targets) and (targets.sum(0)[2], len(mixed)) == (0, 6)
    share = (mixed[0] - plain[1]).flatten() @ (plain[0] - plain[1]).flatten() / (plain[0] - plain[1]).square().sum()
    expected = share * images.targets[0] + (1 - share) * images.targets[1]
    torch.testing.assert_close(targets[0], expected, rtol=0, atol=1e-5)


def test_the_mean_average_precision_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    targets = (generator.random((40, 4)) < 0.3).astype(np.float32)
    targets[:, 2] = 0
    scores = generator.normal(size=(40, 4)).astype(np.float32)
    found = mean_average_precision(scores, targets)
    each = [average_precision_score(targets[:, column], scores[:, column]) for column in (0, 1, 3)]
    assert found.mean_average_precision == pytest.approx(np.mean(each))
    assert (found.classes, found.count) == (3, 40) and found.chance == pytest.approx(targets[:, [0, 1, 3]].mean())
    assert mean_average_precision(targets, targets).mean_average_precision == 1
    with pytest.raises(ValueError, match="none of the images to evaluate on has a class"):
        mean_average_precision(scores, np.zeros_like(targets))
    with pytest.raises(ValueError, match="the outputs of the model are not finite"):
        mean_average_precision(np.full_like(scores, np.nan), targets)


def test_it_learns_every_class():
    objective, images = task(small_model()), several()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)

    def measured():
        return objective.evaluate(objective.model, images, Processes(), trained_on=images, num_workers=0)

    before = measured()
    for step in range(60):
        optimizer.zero_grad()
        objective(batch_of(images), Progress(step, 60, 0))[0].backward()
        optimizer.step()
    after = measured()
    assert after["mean_average_precision"] > 0.95 > before["mean_average_precision"] and after["classes"] == 2
    assert objective.measure == "mean_average_precision"
    assert objective.describe(after).startswith("mean average precision ")
    assert objective.describe(after).endswith(" of 2 classes on 24 images (chance 50.0%)")


def test_a_teacher_of_one_class_is_refused():
    teacher = Teacher(small_model(), Preprocessing(img_size=(8, 8)), (0, 1))
    student = Distillation(DistillationConfig(teacher="here"), small_model(), PLAIN, teacher)
    student.labelled = False
    with pytest.raises(ValueError, match="a teacher's answers are about one class a picture"):
        student(batch_of(several(4)), Progress(0, 1, 0))
