"""Official checkpoints of Hyper-SET and of the CRATE beside it: there and back bit for bit, and faults named."""

import re
from pathlib import Path

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_official
from crate_transformer.checkpoints.official_hyper_set import restore, restore_crate
from crate_transformer.models import build_model

TOY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 6, "num_heads": 3, "num_classes": 5}
VARIANTS = {
    "shared": {"recurrences": 2},
    "normed": {"recurrences": 1, "steps": "normed", "num_atoms": 16},
    "own": {"recurrences": 3, "steps": "own", "attention": "relu"},
    "constant": {"recurrences": 2, "steps": "constant", "time_dim": 512, "class_token": False, "global_pool": "avg"},
    "low rank": {"recurrences": 3, "rank": 2, "rank_scale": 4.0},
}
TOLD = ("recurrences", "attention", "rank_scale", "img_size")
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def toy(variant):
    return build_model("hyper_set_512_patch14_224", **{**TOY, "time_dim": 8, **VARIANTS[variant]}).eval()


def hints(variant):
    return {name: value for name, value in {**TOY, **VARIANTS[variant]}.items() if name in TOLD}


@pytest.fixture
def write(tmp_path):
    def write(tensors):
        torch.save({"epoch": 1, "state_dict": {f"model.{key}": t for key, t in tensors.items()}}, tmp_path / "a.ckpt")
        return tmp_path / "a.ckpt"

    return write


def same(loaded, model):
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@every_variant
def test_there_and_back(variant, tmp_path):
    model = toy(variant)
    assert save_official(model, tmp_path / "hyper.pth") == "official Hyper-SET"
    same(load_checkpoint(tmp_path / "hyper.pth", **hints(variant)), model)


@pytest.mark.parametrize("output", ["free", "transposed"])
def test_crate_there_and_back(output, tmp_path):
    model = build_model("crate_768_recurrent_patch14_224", **TOY | {"depth": 4}, output=output, recurrences=2).eval()
    assert save_official(model, tmp_path / "crate.pth") == "official CRATE of Hyper-SET"
    same(load_checkpoint(tmp_path / "crate.pth", num_heads=3, recurrences=2, img_size=16), model)


def test_what_is_assumed(write):
    model = build_model("hyper_set_512_patch14_224", **TOY | {"depth": 12}, recurrences=12, time_dim=8)
    told = load_checkpoint(write(restore(model)["model_state_dict"])).provenance
    assert told.assumed == {
        "recurrences": 12, "img_size": 32, "attention": "softmax", "feed_forward": "gelu", "steps_of": "tokens",
        "global_pool": "token",
    }  # fmt: skip
    assert told.inferred["num_heads"] == 3 and told.inferred["depth"] == 12


@every_variant
def test_every_missing_tensor_is_named(write, variant):
    tensors = restore(toy(variant))["model_state_dict"]
    for key in tensors:
        if key == "cls_token" or "deltaW" in key:  # without the first the mean is classified; the second come in fours
            continue
        with pytest.raises(ValueError) as error:
            load_checkpoint(write({name: t for name, t in tensors.items() if name != key}), **hints(variant))
        assert f"tensor '{key}' is missing" in str(error.value)


@every_variant
def test_every_wrong_shape_is_named(write, variant):
    tensors = restore(toy(variant))["model_state_dict"]
    few = r"fc\.1|emb\.(0|1)|time_mlp\.(0\.)?1\.weight|deltaW"  # some sizes have too few witnesses
    for key, tensor in tensors.items():
        if re.match(few, key) or re.match(r"enc\.[1-9]", key):
            continue
        with pytest.raises(ValueError) as error:
            load_checkpoint(write(tensors | {key: torch.cat([tensor, tensor])}), **hints(variant))
        assert f"'{key}'" in str(error.value), (key, str(error.value))


@pytest.mark.parametrize(
    ("variant", "given", "sentence"),
    [
        ("shared", {"num_heads": 2}, "num_heads=2 contradicts the tensors, which say 3"),
        ("shared", {"patch_size": 5}, "a patch of 48 values does not match patch_size=5"),
        ("shared", {"heads": 2}, "'heads' is not an option of this model; its options are"),
        ("shared", {"recurrences": 0}, "depth is 0: it must be at least 1"),
        ("low rank", {"rank_scale": None}, "rank_scale=None is not a valid number"),
        ("low rank", {"recurrences": 2}, "tensor 'deltaW_attention_B.2' is unknown"),
    ],
)
def test_wrong_hints(write, variant, given, sentence):
    file = write(restore(toy(variant))["model_state_dict"])
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **hints(variant) | given)
    assert str(error.value).startswith(f"{file}: ")


def test_a_lightning_file_with_a_foreign_object_is_refused(write, tmp_path):
    file = write(restore(toy("shared"))["model_state_dict"])
    content = torch.load(file, weights_only=True) | {"callbacks": {"Stopping": {"when": Path.touch}}}
    torch.save(content, file)
    with pytest.raises(ValueError, match=r"is refused: it contains .*which is neither a tensor nor a plain value"):
        load_checkpoint(file, **hints("shared"))


def test_what_must_be_told(write):
    with pytest.raises(ValueError, match=r"the scale of the low-rank changes cannot be inferred .*: give rank_scale="):
        load_checkpoint(write(restore(toy("low rank"))["model_state_dict"]))
    crate = build_model("crate_768_recurrent_patch14_224", **TOY)
    with pytest.raises(ValueError, match="the number of heads cannot be inferred from the tensors: give num_heads="):
        load_checkpoint(write(restore_crate(crate)["model_state_dict"]))
