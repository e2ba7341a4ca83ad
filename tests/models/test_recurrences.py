"""Blocks that share their weights are as many blocks with equal weights, in every family."""

import copy
import pickle

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.inspection import record
from crate_transformer.models import MODELS, build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 4, "num_heads": 3, "num_classes": 2}
FAMILIES = sorted({model_class: name for name, (model_class, _) in MODELS.items()}.values())
every_family = pytest.mark.parametrize("name", FAMILIES)
IMAGES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def recurrent(name):
    """Four blocks, of which two in a row share weights, away from their initial values."""
    model = build_model(name, **TINY, recurrences=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def written_out(model):
    """The same model with parameters of their own in every block."""
    twin = copy.deepcopy(model)
    for block in twin.blocks:
        for part in block.modules():
            if "owner" in part.__dict__:
                shared = {
                    name: getattr(part, name)
                    for name in vars(type(part))
                    if isinstance(vars(type(part))[name], property)
                }
                part.__class__ = type(part).__mro__[1]
                for name, value in shared.items():
                    setattr(part, name, torch.nn.Parameter(value.detach().clone()))
    return twin


@every_family
def test_it_is_the_model_with_equal_weights_written_out(name):
    model = recurrent(name)
    other = written_out(model)
    count, more = (sum(p.numel() for p in some.parameters()) for some in (model, other))
    in_blocks = sum(p.numel() for p in model.blocks.parameters())
    assert len(model.blocks) == 4 and more > count and in_blocks < sum(p.numel() for p in other.blocks.parameters())
    assert not list(model.blocks[1].parameters()) and not list(model.blocks[3].parameters())
    torch.testing.assert_close(model(IMAGES), other(IMAGES))
    loss, expected = model(IMAGES).square().sum(), other(IMAGES).square().sum()
    loss.backward()
    expected.backward()
    theirs = dict(other.named_parameters())
    for key, parameter in model.blocks.named_parameters():
        layer, _, rest = key.partition(".")
        both = [theirs.get(f"blocks.{number}.{rest}") for number in (int(layer), int(layer) + 1)]
        if all(p is not None and p.grad is not None for p in both) and "steps" not in key:
            torch.testing.assert_close(parameter.grad, both[0].grad + both[1].grad, rtol=1e-4, atol=1e-5)


@every_family
@torch.no_grad()
def test_copies_checkpoints_and_folding_keep_the_sharing(name, tmp_path):
    model = recurrent(name)
    expected = model(IMAGES)
    twin, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    for parameter in model.parameters():
        parameter.zero_()
    assert torch.equal(twin(IMAGES), expected) and torch.equal(pickled(IMAGES), expected)
    for parameter in pickled.parameters():
        parameter.zero_()
    assert torch.equal(pickled(IMAGES), model(IMAGES))
    loaded = load_checkpoint(save_checkpoint(twin, tmp_path / "saved"))
    assert torch.equal(loaded(IMAGES), expected) and loaded.config.recurrences == 2
    assert loaded.state_dict().keys() == twin.state_dict().keys()
    torch.testing.assert_close(twin.fold()(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert twin.bfloat16().fold()(IMAGES.bfloat16()).isfinite().all()


@torch.no_grad()
def test_every_step_is_seen_alone():
    model = recurrent("crate_micro_patch4_32")
    with record(model, "blocks.*.ista", "blocks.*.mssa.projection") as seen:
        model(IMAGES)
    assert len({float(values.sum()) for values in seen.values()}) == 8


def test_as_much_arithmetic_as_without_sharing():
    counts = []
    for recurrences in (1, 4):
        model = build_model("crate_micro_patch4_32", **TINY, recurrences=recurrences)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(IMAGES)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"num_classes": 100}, 1_934_268),
        ({"num_classes": 100, "rank": 4}, 2_032_572),
        ({"num_classes": 100, "rank": 32}, 2_720_700),
        ({"num_classes": 10, "img_size": 32, "patch_size": 4, "steps": "normed"}, 1_611_050),
    ],
)
def test_published_parameters_of_hyper_set_beside_those_of_its_page(options, count):
    """For ImageNet-100, with low-rank changes, and for CIFAR (arXiv 2502.11646); docs/models.md has the others."""
    with torch.device("meta"):
        model = build_model("hyper_set_512_recurrent_patch14_224", **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_atoms": 0}, "num_atoms is 0: it must be at least 1"),
        ({"num_atoms": -3}, "num_atoms is -3: it must be at least 1"),
        ({"rank": 2, "rank_scale": float("nan")}, "rank_scale is nan: it must be above 0"),
    ],
)
def test_numbers_that_a_hyper_set_cannot_have(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_model("hyper_set_512_patch14_224", **TINY, **options)


def test_a_number_of_recurrences_that_cannot_be():
    with pytest.raises(ValueError, match="recurrences is 0: it must be at least 1"):
        build_model("crate_micro_patch4_32", recurrences=0)
