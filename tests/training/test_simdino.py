"""SimDINO: its loss and gradients against the equation, its teacher, and that it learns without collapsing."""

import dataclasses
import math

import pytest
import torch
from simdino_ranks import loss_and_gradients
from small_problem import CONFIG, make_images

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.data import ordered_loader
from crate_transformer.models import CRATE, ToST, ToSTConfig, ViT, ViTConfig
from crate_transformer.training.processes import Processes
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.simdino import SameCrops, SimDINO, agreement, crop_seeds

SMALL = SimDINOConfig(hidden_dim=16, feature_dim=6, local_crops=2)
SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 0}


def fresh_model():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return CRATE(dataclasses.replace(CONFIG, num_classes=0))


def simdino(model, config=SMALL):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return SimDINO(config, model, AugmentConfig())


@pytest.fixture
def run_simdino(run):
    run.fresh_model = fresh_model
    return run


def batch_of(task, count=8):
    view = SameCrops(task.view())
    (batch,) = ordered_loader(make_images().subset(range(count)), view, size=(8, 8), batch_size=count)
    return batch


def test_loss_and_gradients_are_those_of_the_equation():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.nn.functional.normalize(torch.randn(crops, 5, 6, generator=generator, dtype=torch.float64), dim=-1)
        for crops in (4, 2)
    )
    student.requires_grad_()
    loss, numbers = simdino(fresh_model())._loss(student, teacher, student[:2])
    (gradient,) = torch.autograd.grad(loss, student)

    pairs = [(s, t) for s in range(4) for t in range(2) if s != t]
    weight, scale = (6 + 5) / (6 * 5), 6 / (5 * 0.05)
    cosine = sum(student[s, i] @ teacher[t, i] for s, t in pairs for i in range(5)) / (5 * len(pairs))
    grams = [torch.eye(6, dtype=torch.float64) + scale * student[v].T @ student[v] for v in range(2)]
    rate = sum(gram.logdet() / 2 for gram in grams) / 2
    torch.testing.assert_close(loss, -cosine - weight * rate, rtol=1e-12, atol=0)
    torch.testing.assert_close(numbers["similarity"], cosine, rtol=1e-12, atol=0)
    expected = torch.zeros_like(student)
    for s, t in pairs:
        expected[s] -= teacher[t] / (5 * len(pairs))
    for v in range(2):
        expected[v] -= weight / 2 * scale * student[v] @ grams[v].inverse()
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-10, atol=1e-14)


def test_what_collapses_shows():
    task, same = simdino(fresh_model()), torch.nn.functional.normalize(torch.ones(4, 5, 6), dim=-1)
    apart = torch.eye(6)[:5].expand(4, 5, 6)
    for features, spread, rate in (
        (same, 0.0, math.log(1 + 6 / 0.05) / 2),
        (apart, 0.8, 5 * math.log(1 + 6 / (5 * 0.05)) / 2),
    ):
        loss, numbers = task._loss(features, features[:2], features[:2])
        assert numbers["similarity"].item() == pytest.approx(1, abs=1e-6)
        assert numbers["spread"].item() == pytest.approx(spread, abs=1e-6)
        assert numbers["coding_rate"].item() == pytest.approx(rate, rel=1e-6)
    assert loss < task._loss(same, same[:2], same[:2])[0]


def test_agreement_leaves_a_crop_and_itself_out():
    features = torch.eye(4)[:, None].expand(4, 3, 4)
    assert agreement(features, features[:2]) == 0
    assert agreement(torch.eye(4)[[0, 1, 1, 1]][:, None], torch.eye(4)[:2, None]) == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    "model",
    [
        fresh_model,
        lambda: ViT(ViTConfig(**SIZES, drop_path_rate=0.2)),
        lambda: ToST(ToSTConfig(**SIZES)),
    ],
)
def test_every_parameter_of_the_student_learns_and_none_of_the_teacher(model):
    task = simdino(model()).train()
    loss, _ = task(batch_of(task), Progress(0, 10, 0))
    loss.backward()
    silent = {name for name, p in task.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    frozen = {name for name, p in task.named_parameters() if not p.requires_grad}
    assert silent == frozen == {name for name, _ in task.named_parameters() if name.startswith("teacher")}
    assert not task.teacher.training and task.model.training


def test_the_teacher_follows_the_student_along_a_cosine():
    task = simdino(ToST(ToSTConfig(**SIZES)))
    before = {name: tensor.clone() for name, tensor in task.teacher.state_dict().items()}
    with torch.no_grad():
        for tensor in (*task.model.parameters(), *task.model.buffers()):
            tensor.copy_(tensor + 1)
    task.after_step(Progress(5, 10, 0))
    kept = 1 - (1 - 0.996) / 2
    new = task.model.state_dict()
    buffers = {name for name, _ in task.teacher.named_buffers()}
    assert buffers
    for name, tensor in task.teacher.state_dict().items():
        expected = new[name] if name in buffers else kept * before[name] + (1 - kept) * new[name]
        torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-6)
    task.after_step(Progress(10, 10, 0))
    assert all(torch.equal(t, task.teacher.state_dict()[n]) for n, t in task.teacher.state_dict().items())


def test_the_loss_does_not_depend_on_the_division_of_the_random_numbers():
    model = ViT(ViTConfig(**SIZES, drop_path_rate=0.5))
    task = simdino(model).train()
    batch, progress = batch_of(task), Progress(3, 10, 7)
    loss, _ = task(batch, progress)
    assert task(batch, progress)[0] == loss
    assert task({**batch, "positions": batch["positions"] + 8}, progress)[0] != loss
    seeds = crop_seeds(7, batch["positions"], 4)
    assert len(set(seeds.flatten().tolist())) == 32
    assert torch.equal(crop_seeds(7, batch["positions"][4:], 4), seeds[4:])


@pytest.mark.usefixtures("unchecked")
def test_it_learns_and_does_not_collapse(run_simdino, tmp_path):
    seen = []

    class Watched(SimDINO):
        def forward(self, batch, progress):
            loss, numbers = super().forward(batch, progress)
            seen.append({name: value.item() for name, value in numbers.items()} | {"loss": loss.item()})
            return loss, numbers

    def task(model):
        with torch.random.fork_rng():
            torch.manual_seed(2)
            return Watched(dataclasses.replace(SMALL, momentum=0.9), model, AugmentConfig())

    run_simdino(tmp_path, steps=100, task=task, precision="float32", learning_rate=1e-2, batch_size=16)
    first, last = ({name: sum(n[name] for n in part) / 10 for name in seen[0]} for part in (seen[:10], seen[-10:]))
    assert last["loss"] < first["loss"] - 0.05
    assert last["coding_rate"] > first["coding_rate"] + 1 and last["spread"] > 0.3 > 0.15 > first["spread"]


def test_what_is_measured():
    task, held_out = simdino(fresh_model()), make_images()
    known = held_out.subset([index % 24 for index in range(240)])
    numbers = task.evaluate(task.exported, held_out, Processes(), trained_on=known, num_workers=0)
    assert numbers["knn_model"] > 0.6 and math.isfinite(numbers["held_out_loss"])
    assert (task.measure, task.higher_is_better) == ("knn_model", True)
    assert "20 nearest neighbours" in task.describe(numbers)
    task.labelled, nameless = False, dataclasses.replace(held_out, labels=None)
    again = task.evaluate(task.exported, nameless, Processes(), trained_on=nameless, num_workers=0)
    assert again == {"held_out_loss": numbers["held_out_loss"]} and task.measure == "held_out_loss"
    assert not task.higher_is_better


def test_the_teacher_is_what_is_kept_and_a_run_goes_on_exactly(run_simdino, tmp_path):
    whole = run_simdino(tmp_path / "whole", steps=6, task=simdino, precision="float32")
    expected = run_simdino.weights()

    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_simdino(tmp_path / "run", steps=6, task=simdino, precision="float32", checkpoint_every=3, before=stop)
    again = run_simdino(tmp_path / "run", steps=6, task=simdino, precision="float32", checkpoint_every=3)
    assert again.resumed_at == 3 and whole.resumed_at == 0
    assert all(torch.equal(tensor, expected[name]) for name, tensor in run_simdino.weights().items())
    assert run_simdino.model.training is False


@pytest.mark.parametrize(("side", "radius"), [(224, 2.0), (112, 1.0), (8, 0.1)])
def test_the_blur_is_in_proportion_to_the_image(side, radius):
    crops = simdino(CRATE(dataclasses.replace(CONFIG, img_size=side))).crops
    assert [crop.blur_radius for crop in (crops.first, crops.second, crops.local)] == [radius] * 3


def test_what_simdino_cannot_do(run_simdino, tmp_path):
    with pytest.raises(ValueError, match="accumulate is 2: this objective looks at all pictures of a batch together"):
        run_simdino(tmp_path, task=simdino, accumulate=2)
    with pytest.raises(ValueError, match=r"local_size is 6: give a multiple of the patch, \(4, 4\)"):
        simdino(fresh_model(), dataclasses.replace(SMALL, local_size=6))
    with pytest.raises(ValueError, match="leave the options of augment out"):
        SimDINO(SMALL, fresh_model(), AugmentConfig(min_area=0.2))
    with pytest.raises(ValueError, match=r"momentum is 1\.5: it must be between 0 and 1"):
        SimDINOConfig(momentum=1.5)


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path):
    torch.multiprocessing.spawn(loss_and_gradients, (2, tmp_path), nprocs=2)
    loss_and_gradients(0, 1, tmp_path)
    alone, first, second = (torch.load(tmp_path / name, weights_only=True) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    for name, number in alone["numbers"].items():
        assert number.item() == pytest.approx((first["numbers"][name] + second["numbers"][name]).item() / 2, rel=1e-5)
    assert first["numbers"]["coding_rate"].item() == pytest.approx(alone["numbers"]["coding_rate"].item(), rel=1e-5)
    largest = max(gradient.abs().max().item() for gradient in alone["gradients"].values())
    for name, gradient in alone["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name])
        torch.testing.assert_close(first["gradients"][name], gradient, rtol=1e-4, atol=1e-5 * largest, msg=name)
