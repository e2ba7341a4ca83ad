"""The ways in which a model can be run, and their comparison with float64."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from test_every_model import every_class, toy
from torch import nn
from torch.overrides import TorchFunctionMode

from crate_transformer.benchmarks.reference import ReferenceCRATE
from crate_transformer.layers import HookPoint, pack_linears
from crate_transformer.models import CRATE, LANGUAGE_MODELS, MODELS, build_language_model

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


def hooked(model):
    for module in model.modules():
        if isinstance(module, HookPoint):
            module.register_forward_hook(lambda *_: None)
    return model


def packed(model, dtype=None):
    model = model.fold()
    pack_linears(model, dtype)
    return model


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a model is prepared and run.

    Args:
        products: the precision in which matrices are multiplied, where it is not that of the weights.
        tolerance: relative, of answers and gradients; unless given, it follows from the precision of the products.
    """

    prepare: Callable
    dtype: torch.dtype = torch.float32
    products: torch.dtype | None = None
    autocast: bool = False
    tolerance: float | None = None
    gradients_of: Literal["everything", "input", "nothing"] = "everything"

    def tolerances(self, family: str) -> tuple[float, float]:
        """Of answers and of gradients."""
        if self.tolerance is not None:
            return self.tolerance, self.tolerance
        if (self.products or self.dtype) == torch.bfloat16:
            return IN_BF16[family]
        # sums of 200 terms round off by 7 spacings, ten of them in a row by 22; three times that
        return (64 * torch.finfo(self.dtype).eps,) * 2


# twice and more of the largest error in 60 draws (AVX512-BF16, all ways), between half a spacing of bf16 and five
IN_BF16 = {
    "CRATE": (0.04, 0.15),
    "CRATEAlpha": (0.045, 0.08),
    "CRATEMAE": (0.09, 0.28),  # with lambda 0.5 few entries of a code remain, and these are small
    "ToST": (0.02, 0.035),
    "AoT": (0.03, 0.05),
    "CBT": (0.05, 0.1),
    "HyperSET": (0.02, 0.2),
    "RecurrentCRATE": (0.03, 0.045),
    "CRATEHybrid": (0.04, 0.15),
    "ViT": (0.025, 0.045),
    "CausalCRATE": (0.025, 0.035),
    "CausalToST": (0.012, 0.045),
}
AUTOCAST = {"autocast": True, "products": torch.bfloat16}
TO_INPUT = {"prepare": folded, "gradients_of": "input"}
WAYS = {
    "plain": Way(prepare=plain),
    "folded": Way(**TO_INPUT),
    "folded and hooked": Way(prepare=lambda model: hooked(model.fold()), gradients_of="input"),
    "packed": Way(prepare=packed, gradients_of="nothing"),
    "plain in float64": Way(prepare=plain, dtype=torch.float64),
    "checkpointed in float64": Way(prepare=checkpointed, dtype=torch.float64),
    "hooked in float64": Way(prepare=hooked, dtype=torch.float64),
    "folded in float64": Way(**TO_INPUT, dtype=torch.float64),
    "autocast": Way(prepare=plain, **AUTOCAST),
    "autocast, checkpointed": Way(prepare=checkpointed, **AUTOCAST),
    "autocast, hooked": Way(prepare=hooked, **AUTOCAST),
    "autocast, folded": Way(**TO_INPUT, **AUTOCAST),
    "packed in bf16": Way(
        prepare=lambda model: packed(model, torch.bfloat16), products=torch.bfloat16, gradients_of="nothing"
    ),
    "plain in bf16": Way(prepare=plain, dtype=torch.bfloat16),
    "folded in bf16": Way(**TO_INPUT, dtype=torch.bfloat16),
}


def build(name, depth=2):
    """A toy with weights away from their initial values, whose running statistics stay where they are.

    Fifty classes, so that no answer is small by chance.
    """
    if name in MODELS:
        model = toy(name, depth=depth, num_classes=50)
    else:
        model = build_language_model(name, vocab_size=11, context_length=12, embed_dim=16, depth=depth, num_heads=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return model


def reference(model):
    """The same weights in float64; for a CRATE the independent transcription of the equations."""
    if type(model) is not CRATE or model.config.stem == "conv":
        return copy.deepcopy(model).double()
    reference = ReferenceCRATE(model.config).double()
    reference.load_state_dict(model.state_dict())
    return reference


class Decisions(TorchFunctionMode):
    """Which entries every ReLU lets pass; given, the same ones pass again.

    An entry near zero falls to either side by rounding, and with it a whole gradient: float64 takes the side of the run
    that it is compared with.
    """

    def __init__(self, given: list[torch.Tensor] | None = None) -> None:
        super().__init__()
        self.seen, self.given = [], given

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.relu:
            return func(*args, **(kwargs or {}))
        self.seen.append(args[0] > 0)
        if self.given is None:
            return func(*args, **(kwargs or {}))
        return torch.where(self.given[len(self.seen) - 1], args[0], 0)


def draw(exact, size, way):
    """Token ids, or images."""
    if hasattr(exact, "embedding"):
        return torch.randint(0, exact.config.vocab_size, (size[0], size[1] // 2))
    return torch.randn(size[0], 3, *size[1:]).to(way.dtype)


def run(model, inputs, probe, gradients_of, autocast=False, decisions=None):
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
        with precision, decisions or nullcontext():
            answers.append(model(inputs))
        found = torch.autograd.grad((answers[1] * probe).sum(), list(gradients.values()))
        gradients = dict(zip(gradients, found, strict=True))
    return [answer.detach() for answer in answers], gradients


def faults(found, expected, tolerances):
    """What is not within the tolerance of its own size; of a small gradient, of a tenth of all of them."""
    assert found[1].keys() == expected[1].keys() and len(found[0]) == len(expected[0])
    answers = zip(("the answer", "the answer with gradients"), found[0], expected[0], strict=False)
    pairs = [(*answer, 0.0, tolerances[0]) for answer in answers]
    whole = sum(right.square().sum() for right in expected[1].values()) ** 0.5
    pairs += [
        (f"the gradient of {k}", found[1][k], right, whole / 10, tolerances[1]) for k, right in expected[1].items()
    ]
    errors = {
        what: (one.double() - right).norm() / right.norm().clamp_min(least) / tolerance
        for what, one, right, least, tolerance in pairs
    }
    return [f"{what} is off by {error:.1e} times the tolerance" for what, error in errors.items() if not error <= 1]


def compare(model, way, sizes, said):
    """With float64, and with what the same model gave before it ran on other inputs."""
    tolerances = way.tolerances(type(model).__name__)
    exact, model = reference(model), way.prepare(model)
    rounds = []
    for size in sizes:
        inputs = draw(exact, size, way)
        wide = inputs.double() if inputs.is_floating_point() else inputs
        probe = torch.randn_like(exact(wide))
        rounded = way.autocast or way.dtype != torch.float64
        ours = Decisions() if rounded else None
        found = run(model, inputs, probe, way.gradients_of, way.autocast, ours)
        theirs = Decisions(ours.seen) if rounded else None
        wrong = faults(found, run(exact, wide, probe, way.gradients_of, decisions=theirs), tolerances)
        assert not wrong, f"{said} {size}: {wrong}"
        rounds.append((inputs, probe, found))
    for inputs, probe, before in rounds:
        again = run(model, inputs, probe, way.gradients_of, way.autocast)
        assert all(map(torch.equal, again[0], before[0])), f"{said}: the answer depends on what ran before"
        assert all(torch.equal(again[1][key], before[1][key]) for key in before[1]), f"{said}: so does a gradient"
