"""The ways in which a model can be run, and their comparison with float64."""

import copy
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from test_every_model import every_class, toy
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from crate_transformer.benchmarks.reference import TextbookCRATE
from crate_transformer.layers import Tap, pack_linears
from crate_transformer.models import CRATE, LANGUAGE_MODELS, MODELS, build_language_model

SEED = int(os.environ.get("SEED", secrets.randbelow(2**31)))
LANGUAGE = list({model_class: name for name, (model_class, _) in LANGUAGE_MODELS.items()}.values())
VISION = list(every_class.args[1])
SIZES = [(1, 16, 16), (3, 24, 12)]  # with one picture ISTA has fewer tokens than dimensions and takes two products


def plain(model):
    return model


def folded(model):
    return model.fold()


def checkpointed(model):
    model.set_grad_checkpointing()
    return model


def listened(model):
    for module in model.modules():
        if isinstance(module, Tap):
            module.register_forward_hook(lambda *_: None)
    return model


def packed(model, dtype=None):
    model = model.fold()
    pack_linears(model, dtype)
    return model


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a model is prepared and run; the tolerances are relative.

    In 16 bits rounding decides some ReLUs, and in 1 draw of 200 that turns a gradient: one of three draws must do.
    """

    prepare: Callable
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    answers: float = 1e-5
    gradients: float = 1e-4
    draws: int = 1
    gradients_of: Literal["everything", "input", "nothing"] = "everything"


HALF = {"answers": 0.1, "gradients": 0.3, "draws": 3}
EXACT = {"answers": 1e-12, "gradients": 1e-10, "dtype": torch.float64}
TO_INPUT = {"prepare": folded, "gradients_of": "input"}
WAYS = {
    "plain": Way(prepare=plain),
    "checkpointed": Way(prepare=checkpointed),
    "listened": Way(prepare=listened),
    "folded": Way(**TO_INPUT),
    "folded and listened": Way(prepare=lambda model: listened(model.fold()), gradients_of="input"),
    "packed": Way(prepare=packed, gradients_of="nothing"),
    "plain in float64": Way(prepare=plain, **EXACT),
    "checkpointed in float64": Way(prepare=checkpointed, **EXACT),
    "listened in float64": Way(prepare=listened, **EXACT),
    "folded in float64": Way(**TO_INPUT, **EXACT),
    "autocast": Way(prepare=plain, autocast=True, **HALF),
    "autocast, checkpointed": Way(prepare=checkpointed, autocast=True, **HALF),
    "autocast, listened": Way(prepare=listened, autocast=True, **HALF),
    "autocast, folded": Way(**TO_INPUT, autocast=True, **HALF),
    "packed in bf16": Way(prepare=lambda model: packed(model, torch.bfloat16), gradients_of="nothing", **HALF),
    "plain in bf16": Way(prepare=plain, dtype=torch.bfloat16, **HALF),
    "folded in bf16": Way(**TO_INPUT, dtype=torch.bfloat16, **HALF),
}


def build(name):
    """A toy with weights away from their initial values, whose running statistics stay where they are."""
    if name in MODELS:
        model = toy(name)
    else:
        model = build_language_model(name, vocab_size=11, context_length=12, embed_dim=16, depth=2, num_heads=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return model


def reference(model):
    """The same weights in float64; for a CRATE the independent transcription of the equations."""
    if type(model) is not CRATE:
        return copy.deepcopy(model).double()
    textbook = TextbookCRATE(model.config).double()
    textbook.load_state_dict(model.state_dict())
    return textbook


class Margin(TorchDispatchMode):
    """How near to zero any input of a ReLU comes: nearer than rounding, either gradient is right."""

    smallest = torch.inf

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.relu.default:
            self.smallest = min(self.smallest, args[0].abs().min().item())
        return func(*args, **(kwargs or {}))


def draw(exact, size, way):
    """Token ids, or images that leave no ReLU in doubt where float32 is compared with float64."""
    if hasattr(exact, "embedding"):
        return torch.randint(0, exact.config.vocab_size, (size[0], size[1] // 2))
    doubtful = way.dtype == torch.float32 and not way.autocast and way.gradients_of != "nothing"
    for _ in range(100):
        images = torch.randn(size[0], 3, *size[1:]).to(way.dtype)
        if not doubtful:
            break
        with Margin() as margin, torch.no_grad():
            exact.train()(images.double())
            exact.eval()(images.double())
        if margin.smallest > 1e-5:
            break
    return images


def run(model, inputs, probe, gradients_of, autocast=False):
    """Answers without and with gradients, and the gradients; in training mode where all parameters have one."""
    precision = torch.autocast("cpu", torch.bfloat16, enabled=autocast)
    with torch.no_grad(), precision:
        answers = [model.eval()(inputs)]
    inputs, gradients = inputs.clone(), {}
    if inputs.is_floating_point() and gradients_of != "nothing":
        gradients["input"] = inputs.requires_grad_()
    if gradients_of == "everything":
        model.train()
        named = ((name.removeprefix("_orig_mod."), parameter) for name, parameter in model.named_parameters())
        gradients |= {name: p for name, p in named if not name.startswith(getattr(model, "not_in_logits", ()))}
    if gradients:
        with precision:
            answers.append(model(inputs))
        found = torch.autograd.grad((answers[1] * probe).sum(), list(gradients.values()))
        gradients = dict(zip(gradients, found, strict=True))
    return [answer.detach() for answer in answers], gradients


def faults(found, expected, way):
    """What is not within the tolerance of its own size; of a small gradient, of a tenth of all of them."""
    assert found[1].keys() == expected[1].keys() and len(found[0]) == len(expected[0])
    answers = zip(("the answer", "the answer with gradients"), found[0], expected[0], strict=False)
    pairs = [(*answer, 0.0, way.answers) for answer in answers]
    whole = sum(right.square().sum() for right in expected[1].values()) ** 0.5
    pairs += [
        (f"the gradient of {k}", found[1][k], right, whole / 10, way.gradients) for k, right in expected[1].items()
    ]
    errors = {
        what: (one.double() - right).norm() / right.norm().clamp_min(least) / tolerance
        for what, one, right, least, tolerance in pairs
    }
    return [f"{what} is off by {error:.1e} times the tolerance" for what, error in errors.items() if not error <= 1]


def compare(model, way, sizes, said):
    """With float64, and with what the same model gave before it ran on other inputs."""
    exact, model = reference(model), way.prepare(model)
    rounds = []
    for size in sizes:
        for _ in range(way.draws):
            inputs = draw(exact, size, way)
            wide = inputs.double() if inputs.is_floating_point() else inputs
            probe = torch.randn_like(exact(wide))
            found = run(model, inputs, probe, way.gradients_of, way.autocast)
            wrong = faults(found, run(exact, wide, probe, way.gradients_of), way)
            if not wrong:
                break
        assert not wrong, f"{said} {size}: {wrong}"
        rounds.append((inputs, probe, found))
    for inputs, probe, before in rounds:
        again = run(model, inputs, probe, way.gradients_of, way.autocast)
        assert all(map(torch.equal, again[0], before[0])), f"{said}: the answer depends on what ran before"
        assert all(torch.equal(again[1][key], before[1][key]) for key in before[1]), f"{said}: so does a gradient"
