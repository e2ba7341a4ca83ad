"""The loop: it learns, and it is what its equations say."""

import math
import threading

import torch
from small_problem import steps_of

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.tasks.classification import Classification


def test_it_learns(run, tmp_path):
    def task(model):
        return Classification(ClassificationConfig(label_smoothing=0.0), model, AugmentConfig())

    result = run(tmp_path, steps=60, augment=False, task=task, learning_rate=1e-2)
    first, last = read_metrics(tmp_path / "metrics.jsonl")
    assert first["step"] == 50 and last["step"] == 60 == result.steps
    assert last["loss"] == result.loss < 0.3 < math.log(2)
    assert result.resumed_at == result.earlier_seconds == 0
    assert 0 < result.seconds < 60
    assert not run.model.training


def test_three_steps_against_the_equations(run, tmp_path):
    """AdamW, warm-up, cosine, label smoothing, clipping to a norm of 0.1, with the gradient from autograd."""
    seen = []

    class Watched(Classification):
        def forward(self, batch, progress):
            seen.append((self.normalise(batch["images"]), batch["labels"]))
            return super().forward(batch, progress)

    def task(model):
        return Watched(ClassificationConfig(label_smoothing=0.1), model, AugmentConfig())

    changes = {"learning_rate": 0.02, "weight_decay": 0.3, "clip_grad_norm": 0.1, "warmup_steps": 2}
    run(tmp_path, steps=3, task=task, optimizer="adamw", precision="float32", **changes)
    ours = run.weights()

    model = run.fresh_model()
    mean = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    square = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for step, (images, labels) in enumerate(seen[:3]):
        wanted = 0.9 * torch.eye(2)[labels] + 0.1 / 2
        value = -(wanted * model(images).log_softmax(dim=1)).sum(dim=1).mean()
        gradients = dict(zip(mean, torch.autograd.grad(value, [p for _, p in model.named_parameters()]), strict=True))
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))
        assert norm > 0.1
        rate = 0.02 * [1 / 2, 0.5 * (1 + math.cos(math.pi / 3)), 0.5 * (1 + math.cos(2 * math.pi / 3))][step]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                gradient = gradients[name] * 0.1 / norm
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.98 * square[name] + 0.02 * gradient**2
                decay = 0.3 if parameter.ndim > 1 and name not in ("pos_embed", "cls_token") else 0
                parameter -= rate * decay * parameter
                corrected = mean[name] / (1 - 0.9 ** (step + 1)), square[name] / (1 - 0.98 ** (step + 1))
                parameter -= rate * corrected[0] / (corrected[1].sqrt() + 1e-8)
    for name, parameter in model.named_parameters():
        assert (ours[name] - parameter).abs().max() < 2e-4, name


def test_in_another_thread_it_trains_without_signals(run, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path, steps=2)))
    thread.start()
    thread.join()
    assert results[0].steps == 2


def test_evaluation_comes_last(run, tmp_path):
    steps = []

    def validate(model):
        steps.append(steps_of(tmp_path))
        return {"top1": 0.5}

    run(tmp_path, steps=2, options={"validate": validate})
    assert steps == [[2]]
    assert read_metrics(tmp_path / "metrics.jsonl")[-1].items() >= {"step": 2, "top1": 0.5}.items()


def test_after_training_in_bf16_the_model_is_a_float32_model_again(run, tmp_path):
    images = torch.randn(4, 3, 8, 8)
    result = run(tmp_path, steps=2, precision="bf16")
    assert result.precision == "bf16"
    fresh = run.fresh_model().eval()
    fresh.load_state_dict(run.weights())
    assert torch.equal(run.model(images), fresh(images))
    assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
    assert run(tmp_path / "next", steps=2, precision="float32").precision == "no"
