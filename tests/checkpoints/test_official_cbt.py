"""CBT's official checkpoints: there and back bit for bit, and every fault named in one sentence."""

import re

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_official
from crate_transformer.models import build_model

TOY = {"img_size": 12, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 5}
every_attention = pytest.mark.parametrize("attention", ["cbsa", "mssa", "tssa"])


def toy(attention, **changes):
    return build_model("cbt_tiny_patch16_224", **TOY, attention=attention, **changes).eval()


def official(attention):
    """The tensors as main.py would save them."""
    from crate_transformer.checkpoints.official_cbt import restore

    return restore(toy(attention))["state_dict"]


@pytest.fixture
def write(tmp_path):
    def write(tensors):
        torch.save({"epoch": 1, "state_dict": tensors}, tmp_path / "model_best.pth.tar")
        return tmp_path / "model_best.pth.tar"

    return write


@every_attention
def test_there_and_back(attention, tmp_path):
    model = toy(attention, pooling="shifted")
    assert save_official(model, tmp_path / "cbt.pth.tar") == "official CBT"
    loaded = load_checkpoint(tmp_path / "cbt.pth.tar", **({"num_heads": 3} if attention == "mssa" else {}))
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    told = loaded.provenance
    assert told.inferred.get("num_heads", 3) == 3 and told.inferred["attention"] == attention
    assert told.assumed == {"step_size": 0.1, "sparsity_weight": 0.1, "global_pool": "token", "pooling": "shifted"}


def test_the_half_and_half_model_has_no_official_format(tmp_path):
    with pytest.raises(ValueError, match="the official format cannot store the tensor"):
        save_official(toy("mssa+cbsa"), tmp_path / "cbt.pth.tar")


@every_attention
def test_every_missing_tensor_is_named(write, attention):
    tensors = official(attention)
    for key in tensors:
        with pytest.raises(ValueError) as error:
            load_checkpoint(write({name: value for name, value in tensors.items() if name != key}), num_heads=3)
        assert f"tensor '{key.removeprefix('module.')}' is missing" in str(error.value)


@every_attention
def test_every_wrong_shape_is_named(write, attention):
    tensors = official(attention)
    for key, tensor in tensors.items():
        if re.search(r"layers\.[12]\.", key) or not tensor.ndim or key.startswith("module.mlp_head.1"):
            continue
        with pytest.raises(ValueError) as error:
            load_checkpoint(write(tensors | {key: torch.cat([tensor, tensor])}), num_heads=3)
        assert key.removeprefix("module.") in str(error.value), (key, str(error.value))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("attention", "hints", "sentence"),
    [
        ("cbsa", {"num_heads": 2}, "num_heads=2 contradicts the tensors, which say 3"),
        ("cbsa", {"attention": "mssa"}, "attention=mssa contradicts the tensors, which say cbsa"),
        ("cbsa", {"patch_size": 8}, "patch_size=8 contradicts the tensors, which say 4"),
        ("cbsa", {"img_size": 16}, "img_size=16 does not give the 9 patches of 4 x 4"),
        ("cbsa", {"pooling": "other"}, "pooling is 'other': choose 'plain' or 'shifted'"),
        ("cbsa", {"pooling": 3}, "pooling is 3: choose 'plain' or 'shifted'"),
        ("cbsa", {"head_dim": 8}, "head_dim is 8: only attention 'mssa'"),
        (
            "mssa",
            {},
            "the number of heads cannot be inferred from the tensors, and embed_dim 12 with depth 3 is not",
        ),
        ("mssa", {"num_heads": 5}, "num_heads=5 does not divide the 12 rows"),
    ],
)
def test_wrong_hints(write, attention, hints, sentence):
    file = write(official(attention))
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **hints)
    assert str(error.value).startswith(f"{file}: ")
