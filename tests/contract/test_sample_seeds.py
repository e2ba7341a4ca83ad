"""Stochastic depth and dropout whose random numbers belong to the images, asked of one model of every class."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from test_every_model import every_class, toy

from crate_transformer.layers import Stream, drop_path, sample_seeds


def seeded(name, seeds, **changes):
    model = toy(name, **{"depth": 3, "drop_path_rate": 0.5, "drop_rate": 0.3} | changes).train()
    model.patch_embed.eval()  # ToST's batch normalisation ties the images of a batch together
    model.sample_seeds = seeds
    return model


def some_seeds(count, seed=0):
    return sample_seeds(seed, torch.arange(count), Stream.MODEL)


@every_class
@torch.no_grad()
def test_the_split_of_a_batch_changes_nothing(name):
    seeds, images = some_seeds(16), torch.randn(16, 3, 16, 16)
    model = seeded(name, seeds)
    whole = model(images)
    torch.testing.assert_close(model(images), whole, rtol=0, atol=0)
    parts = []
    for part in (slice(0, 6), slice(6, 16)):
        model.sample_seeds = seeds[part]
        parts.append(model(images[part]))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
    model.sample_seeds = some_seeds(16, seed=1)
    assert (model(images) - whole).abs().amax(dim=1).gt(1e-3).sum() > 8
    model.eval()
    plain = model(images)
    model.sample_seeds = None
    assert torch.equal(model(images), plain), "only training is random"


@every_class
@torch.no_grad()
def test_blocks_are_skipped_independently_and_as_often_as_they_should(name):
    many, rate = 4000, 0.4
    model = seeded(name, some_seeds(many), drop_path_rate=rate)
    z = torch.randn(1, 5, model.embed_dim)
    context, z = model.context(z, 8, 8), z.expand(many, -1, -1)
    after = [model.run_block(layer, z, **context) for layer in (1, 2)]
    skipped = torch.stack([(tokens == z).flatten(1).all(dim=1) for tokens in after]).float()
    for found, expected in zip(skipped.mean(dim=1).tolist(), (rate / 2, rate), strict=True):
        assert abs(found - expected) < 5 * math.sqrt(expected * (1 - expected) / many)
    assert abs(torch.corrcoef(skipped)[0, 1]) < 5 / math.sqrt(many)
    after, mean = model.blocks[2](z[:1], **context)[0], model.run_block(2, z, **context).mean(dim=0)
    error = (mean - after).abs() / (after - z[0]).abs().max()
    assert error.max() < 6 * math.sqrt(rate / (1 - rate) / many)


@torch.no_grad()
def test_dropout_before_the_head():
    many = 2000
    model = seeded("crate_tiny_patch16_224", some_seeds(many), drop_path_rate=0.0, num_classes=0)
    z = torch.randn(1, 5, model.embed_dim).expand(many, -1, -1)
    dropped = model.forward_head(z)
    expected = model.norm(model.pool(z[:1]))
    kept = dropped != 0
    torch.testing.assert_close(dropped, expected * kept / 0.7)
    assert abs(kept.float().mean() - 0.7) < 5 * math.sqrt(0.3 * 0.7 / kept.numel())
    assert abs(torch.corrcoef(kept[:, :2].T.float())[0, 1]) < 5 / math.sqrt(many)


@every_class
def test_gradient_checkpointing_draws_the_same(name):
    model, runs = seeded(name, some_seeds(2)), []
    images = torch.randn(2, 3, 16, 16)
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        F.cross_entropy(model(images), torch.tensor([0, 4])).backward()
        runs.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    assert runs[0].keys() == runs[1].keys()
    for key, gradient in runs[0].items():
        torch.testing.assert_close(runs[1][key], gradient, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
def test_one_compiled_model_takes_the_seeds_of_every_batch():
    model = seeded("vit_micro_patch4_32", some_seeds(4), depth=2)
    images = torch.randn(4, 3, 16, 16)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for seed in range(3):
        model.sample_seeds = some_seeds(4, seed)
        with torch.compiler.set_stance("default" if seed == 0 else "fail_on_recompile"):
            torch.testing.assert_close(compiled(images), model(images), rtol=1e-4, atol=1e-5)


def test_seeds_stay_with_their_batch():
    model = seeded("crate_tiny_patch16_224", some_seeds(4))
    assert not [key for key in model.state_dict() if "seed" in key]
    assert copy.deepcopy(model).sample_seeds is None and model.sample_seeds is not None
    with pytest.raises(ValueError, match="random numbers for 4 samples, but the batch has 5"):
        model(torch.randn(5, 3, 16, 16))


def test_the_numbers_decide():
    before, after = torch.zeros(3, 1, 2), torch.ones(3, 1, 2)
    kept = drop_path(before, after, 0.5, torch.tensor([0.0, 0.5, 0.4999]))[:, 0, 0]
    assert kept.tolist() == [0, 2, 0]
