"""Distillation: its loss against the equation, a teacher that stays as it is, a student that learns from it alone."""

import dataclasses

import pytest
import torch
from small_problem import CONFIG, PLAIN, make_images

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.models import CRATE, Preprocessing, ViT, ViTConfig
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.distillation import Distillation, Teacher

OTHER = Preprocessing(img_size=(12, 10), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def lightness(seen=None):
    """Knows three classes, of which the data has the last two in another order."""

    def logits(images):
        if seen is not None:
            seen.append(images)
        light = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(light, 9.0), 4 * light, -4 * light], dim=1)

    return Teacher(logits, OTHER, (2, 1))


def distillation(teacher, config=None, augment=PLAIN):
    def task(model):
        return Distillation(config or DistillationConfig(teacher="here"), model, augment, teacher)

    return task


def test_the_loss_is_that_of_the_equation():
    config = DistillationConfig(teacher="here", temperature=3.0, label_weight=0.3, label_smoothing=0.0)
    task = distillation(lightness(), config)(CRATE(CONFIG).double())
    task.normalise.double()
    images = make_images()
    batch = {"images": images.images[:6], "labels": images.labels[:6], "positions": torch.arange(6)}
    task.normalise.forward = lambda bytes_: (bytes_.double() / 255 - task.normalise.mean) / task.normalise.std
    loss, numbers = task(batch, Progress(0, 1, 0))
    student = task.model(task.normalise.forward(batch["images"])).float()
    teacher = task.teacher(batch["images"].double() / 255)
    total = torch.zeros(())
    for ours, theirs, label in zip(student, teacher, batch["labels"], strict=True):
        p, q = (theirs / 3).softmax(0), (ours / 3).softmax(0)
        total += 0.7 * 9 * (p * (p / q).log()).sum() - 0.3 * ours.softmax(0)[label].log()
    torch.testing.assert_close(loss, total / 6, rtol=1e-5, atol=0)
    agreed = (student.argmax(1) == teacher.argmax(1)).float().mean()
    assert numbers["agrees_with_teacher"] == agreed


def test_the_teacher_sees_the_same_crop_in_its_own_way():
    seen = []
    pixels = make_images().images[:4].float() / 255
    logits = lightness(seen)(pixels)
    (given,) = seen
    assert given.shape == (4, 3, 12, 10) and logits.shape == (4, 2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OTHER.mean, OTHER.std))
    resized = torch.nn.functional.interpolate(pixels, (12, 10), mode="bilinear", antialias=True)
    torch.testing.assert_close(given, (resized - mean) / std)
    light = given.mean(dim=(1, 2, 3))
    torch.testing.assert_close(logits, torch.stack([-4 * light, 4 * light], dim=1))


def test_mixed_pictures_reach_the_teacher_mixed():
    seen = []
    mixing = AugmentConfig(min_area=1.0, flip=False, mixup=1.0)
    task = distillation(lightness(seen), augment=mixing)(CRATE(CONFIG))
    images = make_images()
    batch = {"images": images.images[:4], "labels": images.labels[:4], "positions": torch.arange(4)}
    task(batch, Progress(0, 1, 0))
    task.augment = PLAIN
    task(batch, Progress(0, 1, 0))
    assert seen[0].shape == seen[1].shape and not torch.allclose(seen[0], seen[1], atol=0.1)


def test_a_student_learns_from_the_teacher_alone(run, tmp_path):
    run.fresh_model = lambda: ViT(ViTConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=2))
    config = DistillationConfig(teacher="here", label_weight=0.0)
    run(tmp_path, steps=60, task=distillation(lightness(), config), learning_rate=1e-2, augment=False)
    images = make_images()
    given = (images.images.float() / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / 0.225
    answers = lightness()(images.images.float() / 255).argmax(1)
    with torch.no_grad():
        assert (run.model(given).argmax(1) == answers).float().mean() > 0.9


def test_no_state_holds_the_teacher(run, tmp_path):
    teacher_model = CRATE(dataclasses.replace(CONFIG, num_classes=3))
    before = {name: tensor.clone() for name, tensor in teacher_model.state_dict().items()}
    task = distillation(Teacher(teacher_model.eval(), Preprocessing(img_size=(8, 8)), (2, 1)))
    assert not any("teacher" in name for name in task(CRATE(CONFIG)).state_dict())

    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    run(tmp_path / "whole", steps=6, task=task)
    expected = run.weights()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", steps=6, task=task, checkpoint_every=3, before=stop)
    assert run(tmp_path / "run", steps=6, task=task, checkpoint_every=3).resumed_at == 3
    assert all(torch.equal(tensor, expected[name]) for name, tensor in run.weights().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher_model.state_dict().items())
    assert all(p.grad is None for p in teacher_model.parameters())


def test_another_teacher_does_not_go_on(run, tmp_path):
    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    teacher = dataclasses.replace(lightness(), digest="first")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, task=distillation(teacher), checkpoint_every=3, before=stop)
    for other in ({"digest": "second"}, {"columns": (1, 2)}, {"preprocessing": Preprocessing(img_size=(8, 8))}):
        changed = distillation(dataclasses.replace(teacher, **other))
        with pytest.raises(ValueError, match=r"unfinished run with other settings \(content of the teacher\): repeat"):
            run(tmp_path, task=changed, checkpoint_every=3)
    assert run(tmp_path, task=distillation(teacher), checkpoint_every=3).resumed_at == 3


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("label_weight", 1.5), ("label_smoothing", -0.1)])
def test_bad_settings(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}: it must"):
        DistillationConfig(**{"teacher": "here", name: value})
