"""What every language model must do, at toy size."""

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.configs.language import LanguageConfig as LanguageTaskConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.layers import HookPoint
from crate_transformer.models import build_language_model
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.tasks.next_token import NextToken

every_class = pytest.mark.parametrize("name", ["tost_lm_base", "crate_lm_base"])
TOY = {"vocab_size": 11, "context_length": 12, "embed_dim": 16, "depth": 2, "num_heads": 2}
PUBLISHED = {"tost_lm_base": 110, "tost_lm_medium": 304, "tost_lm_large": 655, "crate_lm_base": 60}


def toy(name, **changes):
    """The registered architecture, narrow and shallow, with parameters away from symmetric initial values."""
    model = build_language_model(name, **TOY | changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def text(batch=3, tokens=12):
    return torch.randint(0, 11, (batch, tokens))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name):
    """In millions and without the position table, as its recipe counts them."""
    with torch.device("meta"):
        model = build_language_model(name)
    assert abs(sum(p.numel() for p in model.parameters()) - model.pos_embed.numel() - 1e6 * PUBLISHED[name]) < 0.8e6


@every_class
@pytest.mark.parametrize("bias", [False, True])
def test_forward_and_backward_are_finite_and_reach_every_parameter(name, bias):
    model, ids = toy(name, bias=bias), text()
    assert model(ids).shape == (3, 12, 11)
    model.loss(ids, ids.roll(-1, dims=1)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, key
    assert any("bias" in key and "denominator" not in key for key in model.state_dict()) == bias


@every_class
@pytest.mark.parametrize("hooked", [False, True])
def test_a_later_token_never_changes_an_earlier_logit(name, hooked):
    model, ids = toy(name).double().eval(), text()
    points = [module for module in model.modules() if isinstance(module, HookPoint)]
    handles = [point.register_forward_hook(lambda _, args, out: None) for point in points if hooked]
    with torch.no_grad():
        before = model(ids)
        for position in range(1, 12):
            changed = ids.clone()
            changed[:, position:] = (changed[:, position:] + torch.randint(1, 11, (3, 12 - position))) % 11
            after = model(changed)
            torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=1e-12)
            assert (after[:, position] - before[:, position]).abs().max() > 1e-6
            torch.testing.assert_close(model(ids[:, :position]), before[:, :position], rtol=0, atol=1e-12)
    assert len(handles) >= 3 * len(model.blocks) * hooked


@every_class
def test_fused_and_plain_attention_agree_and_every_tap_fires_once(name):
    model, ids, fired = toy(name).eval(), text(), []
    points = {key: module for key, module in model.named_modules() if isinstance(module, HookPoint)}
    with torch.no_grad():
        silent = model(ids)
        for key, point in points.items():
            point.register_forward_hook(lambda _, args, out, key=key: fired.append(key))
        torch.testing.assert_close(model(ids), silent, rtol=1e-4, atol=1e-5)
    assert sorted(fired) == sorted(points)


@every_class
def test_save_and_load_give_the_same_logits(name, tmp_path):
    model, ids = toy(name).eval(), text()
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "saved", metadata={"loss": 2.0}))
    assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
    assert loaded.provenance.metadata == {"loss": 2.0}
    with torch.no_grad():
        assert torch.equal(loaded(ids), model(ids))


@every_class
def test_it_learns_a_repeated_text(name):
    codes = torch.tensor([*b"abracadabra hocus pocus "])
    letters, ids = codes.unique(return_inverse=True)
    model = build_language_model(name, **TOY | {"vocab_size": len(letters), "embed_dim": 32})
    ids = ids.repeat(3)
    starts = torch.arange(24)[:, None] + torch.arange(12)
    batch, losses = (ids[starts], ids[starts + 1]), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(120):
        loss = model.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.3
    assert losses[-1] < 0.7  # the first letter of each piece tells little of the second
    prompt = ids[None, :8]
    assert torch.equal(model.generate(prompt, 16, temperature=0.0), ids[None, :24])


@every_class
def test_generation_repeats_itself_with_a_generator(name):
    model, prompt = toy(name).eval(), text(tokens=4)

    def sample(seed, **options):
        return model.generate(prompt, 20, generator=torch.Generator().manual_seed(seed), **options)

    first = sample(1)
    assert first.shape == (3, 24) and torch.equal(first[:, :4], prompt)
    assert torch.equal(first, sample(1)) and not torch.equal(first, sample(2))
    assert torch.equal(sample(1, top_k=1), sample(2, temperature=0.0))
    assert torch.equal(sample(1, top_k=100), first)
    assert torch.equal(model.generate(prompt, 0), prompt)


def test_only_the_likeliest_are_drawn():
    model, prompt = toy("tost_lm_base").eval(), text(batch=200, tokens=3)
    with torch.no_grad():
        best = model(prompt)[:, -1].topk(3).indices
    drawn = model.generate(prompt, 1, top_k=3, temperature=5.0)[:, -1:]
    assert (drawn == best).any(dim=1).all() and not (drawn == best[:, :1]).all()


@pytest.mark.parametrize(
    ("ids", "options", "sentence"),
    [
        ([[]], {}, "token_ids must contain at least one token, from 0 to 10"),
        ([[11]], {}, "from 0 to 10"),
        ([[-1]], {}, "from 0 to 10"),
        ([[1]], {"temperature": -1.0}, "temperature is -1.0"),
        ([[1]], {"temperature": float("nan")}, "temperature is nan"),
        ([[1]], {"top_k": 0}, "top_k is 0"),
    ],
)
def test_what_generation_refuses(ids, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        toy("tost_lm_base").generate(torch.tensor(ids, dtype=torch.long), 2, **options)


def test_what_models_refuse():
    with pytest.raises(ValueError, match="13 tokens are more than the context_length 12"):
        toy("crate_lm_base")(text(tokens=13))
    with pytest.raises(ValueError, match="there is no language model 'gpt2'; choose one of crate_lm_base, crate_lm_mi"):
        build_language_model("gpt2")
    with pytest.raises(ValueError, match=r"tost_lm_base has no option 'heads'; its options are .*num_heads"):
        build_language_model("tost_lm_base", heads=3)
    with pytest.raises(ValueError, match="context_length is 0: it must be at least 1"):
        build_language_model("tost_lm_base", context_length=0)
    with pytest.raises(ValueError, match="embed_dim 16 is not a multiple of num_heads 3"):
        build_language_model("crate_lm_base", **TOY | {"num_heads": 3})


def test_targets_of_minus_one_do_not_count():
    model, ids = toy("crate_lm_base"), text()
    targets = ids.roll(-1, dims=1)
    targets[:, 6:] = -1
    torch.testing.assert_close(model.loss(ids, targets), model.loss(ids[:, :6], targets[:, :6]))


@every_class
def test_bf16_autocast_trains(name):
    model, ids = toy(name), text()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(ids, ids)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    torch.testing.assert_close(loss, model.loss(ids, ids), rtol=0.05, atol=0.05)


@every_class
def test_the_optimisers_of_the_loop_know_what_decays(name):
    model = toy(name)
    task = NextToken(LanguageTaskConfig(), model)
    (optimizer,) = build_optimizers(task, OptimiserConfig(), "no")
    spared = {
        id(parameter) for group in optimizer.param_groups if not group["weight_decay"] for parameter in group["params"]
    }
    for key, parameter in model.named_parameters():
        linear = key == "embedding.weight" or (key.endswith((".weight", ".dictionary")) and ".norm" not in f".{key}")
        assert (id(parameter) in spared) != linear, key
