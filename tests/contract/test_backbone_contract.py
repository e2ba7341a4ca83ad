"""What users of timm, DINO and DINOv2 expect of a backbone, asked of one model of every class."""

import dataclasses
import re

import pytest
import torch
import torch.nn.functional as F
from test_every_model import every_class, toy

from crate_transformer.layers import HookPoint, drop_path
from crate_transformer.models import MODELS, Preprocessing, build_model

without_class_token = {"ToST"}
without_attention = {"ToST"}
without_registers = {"ToST", "HyperSET", "RecurrentCRATE"}


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 24)


def deep(name, **changes):
    return toy(name, depth=3, **changes).eval()


def block_outputs(model, images):
    seen = []
    handles = [b.register_forward_hook(lambda module, args, output: seen.append(output)) for b in model.blocks]
    model.forward_features(images)
    for handle in handles:
        handle.remove()
    return seen


@every_class
def test_attributes(name):
    model = deep(name)
    assert model.num_features == model.embed_dim == model.norm.weight.shape[0]
    assert model.num_classes == 5 and model.get_classifier() is model.head
    assert model.num_prefix_tokens == (0 if type(model).__name__ in without_class_token else 1)
    assert model.num_reg_tokens == 0
    assert len(model.blocks) == len(model.feature_info) == 3
    for layer, info in enumerate(model.feature_info):
        assert (info["num_chs"], info["reduction"]) == (model.embed_dim, 4)
        assert model.get_submodule(info["module"]) is model.blocks[layer]


@every_class
@torch.no_grad()
def test_intermediates_are_the_outputs_of_blocks(name, images):
    model = deep(name)
    outputs, skip = block_outputs(model, images), model.num_prefix_tokens
    final, maps = model.forward_intermediates(images)
    torch.testing.assert_close(final, model.forward_features(images))
    assert [m.shape for m in maps] == [(2, model.embed_dim, 4, 6)] * 3
    for output, grid in zip(outputs, maps, strict=True):
        assert torch.equal(grid.flatten(2).transpose(1, 2), output[:, skip:])
    _, chosen = model.forward_intermediates(images, [-1, 0], output_fmt="NLC", return_prefix_tokens=True, norm=True)
    for layer, (patches, prefix) in zip((2, 0), chosen, strict=True):
        assert torch.equal(torch.cat([prefix, patches], dim=1), model.norm(outputs[layer]))
        assert prefix.shape[1] == skip
    last = model.forward_intermediates(images, 2, intermediates_only=True)
    assert len(last) == 2 and all(map(torch.equal, last, maps[1:]))


@every_class
@torch.no_grad()
def test_stopping_early_runs_no_later_block(name, images):
    model = deep(name)
    expected = model.forward_intermediates(images, [1], intermediates_only=True)
    model.blocks[2].register_forward_hook(lambda *_: pytest.fail("ran a later block"))
    assert torch.equal(
        model.forward_intermediates(images, [1], stop_early=True, intermediates_only=True)[0], expected[0]
    )


@every_class
@torch.no_grad()
def test_pruning_keeps_the_features(name, images):
    model = deep(name, drop_path_rate=0.2)
    expected = model.forward_intermediates(images, [0, -2], intermediates_only=True)
    assert model.prune_intermediate_layers([0, -2], prune_norm=True) == [0, 1]
    assert all(map(torch.equal, model.forward_intermediates(images, [0, 1], intermediates_only=True), expected))
    assert (len(model.blocks), model.config.depth, model.num_classes) == (2, 2, 0)
    assert model.config.drop_path_rate == pytest.approx(0.1)  # what the second of three blocks had
    assert not any(hasattr(model, part) for part in model.not_in_logits)
    with pytest.raises(ValueError, match=r"indices are .*, but the model has blocks"):
        model.prune_intermediate_layers([2])


def test_pruning_leaves_no_model_that_its_configuration_does_not_describe():
    model = build_model("crate_cbt_small_patch16_224", img_size=16, patch_size=8, embed_dim=12, depth=4, num_heads=3)
    with pytest.raises(ValueError, match=r"'mssa\+cbsa' has MSSA in half of its blocks: keep the last block"):
        model.prune_intermediate_layers([2])
    assert (len(model.blocks), model.config.depth) == (4, 4)
    assert model.prune_intermediate_layers(2) == [2, 3] and model.num_classes == 0


@every_class
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"indices": [0, 3]}, r"indices are \[0, 3\], but the model has blocks 0 to 2"),
        ({"indices": [-4]}, r"indices are \[-4\], but the model has"),
        ({"indices": []}, r"indices are \[\], but the model has"),
        ({"indices": 4}, "indices is 4, but the model has 3 blocks"),
        ({"indices": 0}, "indices is 0, but the model has"),
        ({"stop_early": True}, "stop_early does not compute the final tokens"),
    ],
)
def test_intermediates_that_do_not_exist(name, options, sentence, images):
    with pytest.raises(ValueError, match=sentence):
        deep(name).forward_intermediates(images, **options)


@every_class
@torch.no_grad()
def test_intermediate_layers_as_dinov2_returns_them(name, images):
    model = deep(name)
    outputs = [model.norm(output) for output in block_outputs(model, images)]
    (last,) = model.get_intermediate_layers(images)
    assert torch.equal(last, outputs[2][:, model.num_prefix_tokens :])
    (raw,) = model.get_intermediate_layers(images, [0], reshape=True, norm=False)
    assert raw.shape == (2, model.embed_dim, 4, 6)
    if type(model).__name__ in without_class_token:
        with pytest.raises(ValueError, match="has no class token in its blocks"):
            model.get_intermediate_layers(images, return_class_token=True)
    else:
        pairs = model.get_intermediate_layers(images, 2, return_class_token=True)
        for (patches, token), output in zip(pairs, outputs[1:], strict=True):
            assert torch.equal(torch.cat([token[:, None], patches], dim=1), output)


@every_class
@torch.no_grad()
def test_the_last_self_attention(name, images):
    model = deep(name)
    if type(model).__name__ in without_attention:
        with pytest.raises(ValueError, match="has no softmax attention in its blocks"):
            model.get_last_selfattention(images)
        return
    attention = model.get_last_selfattention(images)
    assert attention.shape == (2, model.config.num_heads, 25, 25)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
    assert not any(point.has_hooks for point in model.modules() if isinstance(point, HookPoint))
    half = torch.cat([images[:1], torch.zeros(1, 3, 16, 24)])
    torch.testing.assert_close(model.get_last_selfattention(half)[0], attention[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in every_class.args[1] if hasattr(MODELS[name][1], "class_token")])
def test_another_classifier_without_a_class_token(name, images):
    model = deep(name, class_token=False, global_pool="avg").double()
    model.reset_classifier(7)
    assert model(images.double()).shape == (2, 7)
    with pytest.raises(ValueError, match="class_token is False: set global_pool to 'avg'"):
        model.reset_classifier(7, "token")


@every_class
def test_another_classifier(name, images):
    model = deep(name).double()
    model.class_names = tuple("abcde")
    before = model.forward_head(model.forward_features(images.double()), pre_logits=True)
    model.reset_classifier(7)
    logits = model(images.double())
    assert logits.shape == (2, 7) and logits.dtype == torch.float64
    assert (model.num_classes, model.config.num_classes, model.class_names) == (7, 7, None)
    torch.testing.assert_close(model.head(before), logits)
    model.reset_classifier(0, "avg")
    assert model.config.global_pool == "avg"
    pooled = model(images.double())
    torch.testing.assert_close(pooled, model.forward_head(model.forward_features(images.double()), pre_logits=True))
    assert not torch.allclose(pooled, before)
    model.reset_classifier(0, "")
    assert torch.equal(model(images.double()), model.norm(model.forward_features(images.double())))
    with pytest.raises(ValueError, match="global_pool '' returns all tokens and needs num_classes=0"):
        model.reset_classifier(2)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_torchscript_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="TorchScript, which PyTorch deprecates, is not supported"):
        torch.jit.script(deep("crate_micro_patch4_32"))


@every_class
def test_gradient_checkpointing_changes_no_gradient(name, images):
    model, runs = toy(name, depth=3, drop_path_rate=0.5), []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        ran = []
        handle = model.blocks[1].register_forward_pre_hook(lambda *_, ran=ran: ran.append(1))
        torch.manual_seed(3)
        F.cross_entropy(model(images), torch.tensor([0, 4])).backward()
        handle.remove()
        assert len(ran) == 1 + enable  # once more in the backward pass
        runs.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    assert runs[0].keys() == runs[1].keys()
    for key, gradient in runs[0].items():
        torch.testing.assert_close(runs[1][key], gradient, rtol=1e-4, atol=1e-6, msg=key)


@every_class
@torch.no_grad()
def test_stochastic_depth_is_unbiased_and_only_in_training(name):
    model = toy(name, drop_path_rate=0.4)
    z = torch.randn(1, 5, model.embed_dim)
    context = model.context(z, 8, 8)
    after, many = model.blocks[1](z, **context), z.expand(4000, -1, -1)
    model.train()
    torch.testing.assert_close(model.run_block(0, z, **context), model.blocks[0](z, **context))  # the rate grows from 0
    dropped = model.run_block(1, many, **context)
    skipped = (dropped == z).flatten(1).all(dim=1)
    assert skipped.float().mean().item() == pytest.approx(0.4, abs=0.05)
    error = (dropped.mean(dim=0) - after[0]).abs() / (after - z).abs().max()
    assert error.max() < 6 * (0.4 / 0.6 / 4000) ** 0.5
    model.eval()
    torch.testing.assert_close(model.run_block(1, many, **context), after.expand(4000, -1, -1), rtol=1e-4, atol=1e-5)


def test_dropping_no_path_is_exact():
    before, after = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert drop_path(before, after, 0.0) is after


@every_class
@torch.no_grad()
def test_a_fixed_input_size_gives_the_logits_of_resampling(name):
    model = deep(name)
    for size in ((24, 8), (8, 40)):
        images = torch.randn(2, 3, *size)
        expected = deep(name)
        expected.load_state_dict(model.state_dict())
        expected = expected(images)
        fixed = deep(name)
        fixed.load_state_dict(model.state_dict())
        fixed.set_input_size(size)
        torch.testing.assert_close(fixed(images), expected)
        assert fixed.img_size == fixed.config.image_shape == fixed.preprocessing.img_size == size
        rebuilt = type(fixed)(fixed.config)
        rebuilt.load_state_dict(fixed.state_dict())
        torch.testing.assert_close(rebuilt.eval()(images), expected)
    with pytest.raises(ValueError, match="img_size 18 is not a multiple of patch_size 4"):
        model.set_input_size(18)
    assert model.img_size == (16, 16)


@every_class
def test_only_one_size_where_others_are_not_wanted(name):
    model = deep(name, dynamic_img_size=False)
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 5)
    with pytest.raises(ValueError, match=r"image size 16 x 24 is not img_size \(16, 16\): set dynamic_img_size=True"):
        model(torch.randn(1, 3, 16, 24))


@every_class
def test_register_tokens(name, images):
    if MODELS[name][0].__name__ in without_registers:
        with pytest.raises(ValueError, match="reg_tokens is 3: "):
            deep(name, reg_tokens=3)
        return
    model = deep(name, reg_tokens=3, global_pool="avg")
    assert (model.num_reg_tokens, model.num_prefix_tokens) == (3, 4)
    z = model.forward_features(images)
    assert z.shape[1] == 4 + 24
    other = z.clone()
    other[:, 1:4] = 7.0
    assert torch.equal(model.pool(z), model.pool(other))
    _, [(patches, prefix)] = model.forward_intermediates(images, 1, return_prefix_tokens=True)
    assert patches.shape == (2, model.embed_dim, 4, 6) and torch.equal(prefix, z[:, :4])
    model(images).sum().backward()
    assert model.reg_token.grad.abs().sum() > 0
    assert "reg_token" in model.no_weight_decay()


@every_class
@pytest.mark.parametrize("coarse", [False, True])
def test_layer_groups_cover_every_parameter(name, coarse):
    model = deep(name)
    layers = {}
    for key, _ in model.named_parameters():
        for group, patterns in model.group_matcher(coarse).items():
            for pattern in [patterns] if isinstance(patterns, str) else [first for first, _ in patterns]:
                if found := re.match(pattern, key):
                    layers.setdefault(key, []).append((group, *found.groups()))
    assert all(len(matches) == 1 for matches in layers.values())
    assert all(number.isdigit() for matches in layers.values() for number in matches[0][1:])
    rest = [key for key, _ in model.named_parameters() if key not in layers]
    assert rest and all(key.startswith(("head.", "decoder.")) for key in rest)
    assert layers["cls_token"][0][0] == "stem" and layers["norm.weight"][0][0] == "after_blocks"
    blocks = {matches[0] for key, matches in layers.items() if key.startswith("blocks.")}
    assert blocks == ({("blocks",)} if coarse else {("blocks", "0"), ("blocks", "1"), ("blocks", "2")})


@every_class
def test_parameters_without_decay_exist(name):
    model = deep(name)
    assert "cls_token" in model.no_weight_decay()
    assert model.no_weight_decay() <= {key for key, _ in model.named_parameters()}


@every_class
def test_preprocessing_in_timm_words(name):
    model = deep(name)
    model.preprocessing = Preprocessing(img_size=(16, 24), crop_pct=0.9, interpolation="bicubic", std=(0.1, 0.2, 0.3))
    model.class_names = tuple("abcde")
    words = model.pretrained_cfg
    expected = {"input_size": (3, 16, 24), "crop_pct": 0.9, "interpolation": "bicubic", "std": (0.1, 0.2, 0.3)}
    expected |= {"mean": (0.485, 0.456, 0.406), "num_classes": 5, "label_names": tuple("abcde"), "classifier": "head"}
    convolutions = [part for part, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert words == expected | {"first_conv": convolutions[0] if convolutions else ()}
    other = deep(name)
    other.pretrained_cfg = {**words, "mean": [0.5, 0.5, 0.5], "architecture": "some_name"}
    assert other.preprocessing == dataclasses.replace(model.preprocessing, mean=(0.5, 0.5, 0.5))
    assert other.class_names == model.class_names
    assert other.pretrained_cfg["architecture"] == "some_name"
    other.reset_classifier(2)
    assert (other.pretrained_cfg["num_classes"], other.pretrained_cfg["label_names"]) == (2, None)
