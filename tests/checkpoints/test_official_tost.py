"""Official ToST files, for pictures and for language: inference, hints, and everything that can be wrong with them."""

import argparse
import dataclasses
import re

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, official_tost, official_tost_language
from crate_transformer.cli import main
from crate_transformer.models import CausalToST, CausalToSTConfig, ToST, ToSTConfig

VISION = ToSTConfig(img_size=16, patch_size=4, embed_dim=16, depth=3, num_heads=4, num_classes=5)
LANGUAGE = CausalToSTConfig(vocab_size=11, context_length=12, embed_dim=16, depth=3, num_heads=2, layer_scale=0.5)


def official_vision(config):
    """A state dict as main.py would save it."""
    state, rows = ToST(config).state_dict(), dict(official_tost.RENAMED)
    tables = {"RENAMED_IN_STEM": 2, "RENAMED_IN_BLOCK": config.depth, "RENAMED_IN_CLASS_LAYER": config.num_class_layers}
    for table, number in tables.items():
        for layer in range(number):
            for key, own in getattr(official_tost, table).items():
                rows[key.format(l=layer, even=2 * layer)] = own.format(l=layer)
    return {key: state[own][:, None] if key.endswith(".temp") else state[own] for key, own in rows.items()}


def official_language(config):
    """A state dict as train.py would save it."""
    state, rows = CausalToST(config).state_dict(), dict(official_tost_language.RENAMED)
    for layer in range(config.depth):
        rows |= {
            key.format(l=layer): own.format(l=layer) for key, own in official_tost_language.RENAMED_IN_LAYER.items()
        }
    tensors = {key: state[own] for key, own in rows.items() if own in state}
    tensors = {key: value[:, None] if key.endswith(".temp") else value for key, value in tensors.items()}
    return tensors | {"lm_head.weight": tensors["transformer.wte.weight"]}


OFFICIAL = {"vision": (official_vision, VISION), "language": (official_language, LANGUAGE)}
every_kind = pytest.mark.parametrize("kind", OFFICIAL)


@pytest.fixture
def write(tmp_path):
    def write(content, name="checkpoint.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_both_files_of_the_picture_models(write):
    tensors = official_vision(VISION)
    whole = {
        "model": tensors,
        "optimizer": {"state": {}},
        "lr_scheduler": {},
        "epoch": 3,
        "model_ema": {key: value + 1 for key, value in tensors.items()},
        "scaler": {},
        "args": argparse.Namespace(lr=0.1),
    }
    best = {key: value for key, value in whole.items() if key != "scaler"}
    for name, content in {"checkpoint.pth": whole, "best_model.pth": best}.items():
        file = write(content, name)
        model = load_checkpoint(file, img_size=16)
        assert type(model) is ToST and model.config == VISION and not model.training
        assert model.preprocessing.interpolation == "bicubic" and model.preprocessing.img_size == (16, 16)
        assert model.provenance.metadata == {"epoch": 3}
        assert model.provenance.assumed == {"global_pool": "token", "layer_scale": 1.0, "interpolation": "bicubic"}
        averaged = load_checkpoint(file, img_size=16, weights="model_ema")
        assert torch.equal(averaged.norm.weight, model.norm.weight + 1)
        with pytest.raises(ValueError, match="has no weights called 'ema': it contains 'model', 'model_ema'"):
            load_checkpoint(file, weights="ema")


def test_without_a_hint_pictures_are_of_224_pixels(write):
    model = load_checkpoint(write(official_vision(VISION)))
    assert model.img_size == (224, 224) and model.provenance.assumed["img_size"] == 224
    with pytest.raises(ValueError, match="has no weights called 'model_ema': it contains a single set without a name"):
        load_checkpoint(write(official_vision(VISION)), weights="model_ema")


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "module._orig_mod."])
@pytest.mark.parametrize("bias", [False, True])
def test_language_compiled_or_not(write, prefix, bias):
    config = dataclasses.replace(LANGUAGE, bias=bias, layer_scale=1e-5)
    tensors = official_language(config)
    content = {"model": {prefix + key: value for key, value in tensors.items()}, "model_args": {"n_layer": 2}}
    model = load_checkpoint(write(content | {"iter_num": 7, "best_val_loss": torch.tensor(3.5)}, "ckpt.pt"))
    assert type(model) is CausalToST and model.config == config
    assert model.provenance.metadata == {"iter_num": 7, "best_val_loss": 3.5}
    assert set(model.provenance.dropped) == {"lm_head.weight"}


def test_an_output_map_of_its_own_is_refused(write):
    tensors = official_language(LANGUAGE)
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    with pytest.raises(ValueError, match=r"tensor 'lm_head.weight' differs from 'transformer.wte.weight', but"):
        load_checkpoint(write(tensors))


@every_kind
def test_every_missing_tensor_is_named(write, kind):
    make, config = OFFICIAL[kind]
    tensors = make(config)
    for key in tensors:
        with pytest.raises(ValueError) as error:
            load_checkpoint(write({name: value for name, value in tensors.items() if name != key}))
        assert f"tensor '{key}' is missing" in str(error.value)


@every_kind
def test_every_wrong_shape_and_every_nan_is_named(write, kind):
    make, config = OFFICIAL[kind]
    tensors = make(config)
    sizes = {
        "head.bias",
        "head.weight",
        "patch_embed.proj.0.0.weight",
        "transformer.wpe.weight",
        "transformer.wte.weight",
    }
    for key in [key for key in tensors if not re.search(r"(blocks|\.h)\.[12]\.", key)]:
        tensor = tensors[key]
        if tensor.is_floating_point():
            with pytest.raises(ValueError, match=f"tensor '{key}' contains values that are not finite"):
                load_checkpoint(write(tensors | {key: torch.full_like(tensor, float("nan"))}))
        if tensor.ndim:
            with pytest.raises(ValueError) as error:  # some sizes have too few witnesses to know which of two is wrong
                load_checkpoint(write(tensors | {key: torch.cat([tensor, tensor])}))
            assert f"'{key}'" in str(error.value) or key in sizes, (key, str(error.value))
            with pytest.raises(ValueError):
                load_checkpoint(write(tensors | {key: torch.tensor(1.0)}))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("vision", "extra"),
        ("vision", "dist_token"),
        ("vision", "blocks.0.attn.qkv.extra"),
        ("language", "extra"),
        ("language", "transformer.h.0.attn.bias"),
    ],
)
def test_an_unknown_tensor_is_named(write, kind, key):
    make, config = OFFICIAL[kind]
    with pytest.raises(ValueError, match=f"tensor '{key}' is unknown in this checkpoint format"):
        load_checkpoint(write(make(config) | {key: torch.zeros(16)}))


@pytest.mark.parametrize(
    ("kind", "hints", "sentence"),
    [
        ("vision", {"num_heads": 2}, "num_heads=2 contradicts the tensors, which say 4"),
        ("vision", {"patch_size": 16}, "patch_size=16 contradicts the tensors, which say 4"),
        ("vision", {"img_size": 18}, "img_size 18 is not a multiple of patch_size 4"),
        ("vision", {"heads": 4}, "'heads' is not an option of this model; its options are .*num_heads"),
        ("vision", {"reg_tokens": 1}, "reg_tokens is 1: a ToST has only patches in its blocks"),
        ("language", {"num_heads": 4}, "num_heads=4 contradicts the tensors, which say 2"),
        ("language", {"context_length": 6}, "context_length=6 contradicts the tensors, which say 12"),
        ("language", {"img_size": 224}, "'img_size' is not an option of this model; its options are .*context_length"),
    ],
)
def test_wrong_hints(write, kind, hints, sentence):
    make, config = OFFICIAL[kind]
    file = write(make(config))
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **hints)
    assert str(error.value).startswith(f"{file}: ")


def test_commands_that_take_pictures_refuse_a_language_model(write, capsys):
    file = write(official_language(LANGUAGE))
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(["classify", str(file), "--checkpoint", str(file)]))
    assert end.value.code == 2
    assert "is a language model (CausalToST): give a vision model" in capsys.readouterr().err
