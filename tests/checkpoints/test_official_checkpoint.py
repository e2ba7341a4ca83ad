"""Official CRATE files: inference, hints, and everything that can be wrong with them."""

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.official_crate import RENAMED, RENAMED_IN_LAYER, recognises
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.models import CRATE, CRATEConfig


def official(config):
    """A state dict as main.py would save it."""
    state = CRATE(config).state_dict()
    rows = RENAMED | {
        key.format(l=layer): own.format(l=layer)
        for layer in range(config.depth)
        for key, own in RENAMED_IN_LAYER.items()
    }
    return {key: state[own] for key, own in rows.items() if own in state}


TOY = CRATEConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5)


@pytest.fixture
def write(tmp_path):
    def write(content, name="model.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_every_wrapping_gives_the_same_model(write, tmp_path):
    tensors = official(TOY)
    prefixed = {f"module.{key}": value for key, value in tensors.items()}
    save_file(tensors, tmp_path / "bare.safetensors")
    rest = {"epoch": 3, "arch": "CRATE_tiny", "best_acc1": torch.tensor(20.0), "optimizer": {"state": {}}}
    files = [
        write(tensors, "bare.pth"),
        write({"state_dict": prefixed, **rest, "scheduler": {}}, "wrapped.pth.tar"),
        write({"model": prefixed, "optimizer": {}, "scaler": {}}, "tuned.t7"),
        write({"model": tensors, "args": argparse.Namespace(lr=0.1)}, "namespace.pth"),
        tmp_path / "bare.safetensors",
    ]
    torch.save(tensors, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    models = [load_checkpoint(file, num_heads=3) for file in [*files, tmp_path / "legacy.pth"]]
    for model in models:
        assert model.config == TOY
        assert not model.training
        assert torch.equal(model.blocks[1].ista.dictionary, tensors["transformer.layers.1.1.fn.weight"])
    assert models[1].provenance.metadata == {"epoch": 3, "arch": "CRATE_tiny", "best_acc1": 20.0}


def test_provenance_tells_what_was_found(write):
    provenance = load_checkpoint(write(official(TOY)), num_heads=3, step_size=0.3).provenance
    sizes = {"patch_size": 4, "img_size": 16, "in_chans": 3}
    assert provenance.inferred == {"embed_dim": 12, "depth": 2, "num_classes": 5} | sizes
    assert provenance.hints == {"num_heads": 3, "step_size": 0.3}
    assert provenance.assumed == {"sparsity_weight": 0.1, "global_pool": "token"}
    text = str(provenance)
    for words in ("CRATE from", "embed_dim 12", "given: num_heads 3, step_size 0.3", "assumed", "sparsity_weight 0.1"):
        assert words in text
    assert len(text.splitlines()) <= 6


@pytest.mark.parametrize(("dim", "depth", "heads"), [(384, 12, 6), (576, 12, 12)])
def test_published_sizes_need_no_hint(write, dim, depth, heads):
    config = CRATEConfig(img_size=16, patch_size=8, embed_dim=dim, depth=depth, num_heads=heads, num_classes=2)
    model = load_checkpoint(write(official(config)))
    assert model.config == config
    assert model.provenance.inferred["num_heads"] == heads


def test_half_precision_files_become_float32(write):
    model = load_checkpoint(write({k: v.half() for k, v in official(TOY).items()}), num_heads=3)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("config", "hints"),
    [
        ({"num_heads": 1}, {}),
        ({"head_dim": 7}, {"num_heads": 3}),
        ({"img_size": (8, 20)}, {"num_heads": 3, "img_size": (8, 20)}),
        ({"img_size": (12, 8), "patch_size": (4, 2)}, {"num_heads": 3, "img_size": (12, 8), "patch_size": (4, 2)}),
        ({"in_chans": 1}, {"num_heads": 3, "in_chans": 1}),
        (
            {"global_pool": "avg", "sparsity_weight": 0.4},
            {"num_heads": 3, "global_pool": "avg", "sparsity_weight": 0.4},
        ),
    ],
)
def test_hints_settle_what_tensors_do_not(write, config, hints):
    config = CRATEConfig(**{"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3} | config)
    model = load_checkpoint(write(official(config)), **hints)
    assert (model.config.image_shape, model.config.patch_shape) == (config.image_shape, config.patch_shape)
    for name in ("num_heads", "head_dim", "in_chans", "global_pool", "sparsity_weight"):
        assert getattr(model.config, name) == getattr(config, name)


@pytest.mark.parametrize(
    ("hints", "sentence"),
    [
        ({}, "embed_dim 12 with depth 2 is not a published size: give num_heads="),
        ({"num_heads": 5}, "num_heads=5 does not divide the 12 rows"),
        ({"num_heads": 0}, "num_heads=0 does not divide"),
        ({"num_heads": "3"}, "num_heads='3' is not a valid number"),
        ({"num_heads": 1}, "num_heads=1 contradicts the tensors"),
        ({"heads": 3}, "'heads' is not an option of this model; its options are .*num_heads"),
        ({"num_heads": 3, "embed_dim": 13}, "embed_dim=13 contradicts the tensors, which say 12"),
        ({"num_heads": 3, "num_classes": 10}, "num_classes=10 contradicts the tensors, which say 5"),
        ({"num_heads": 3, "img_size": 20}, "img_size=20 does not give the 16 patches of 4 x 4"),
        ({"num_heads": 3, "img_size": (4, 4, 4)}, r"img_size is \(4, 4, 4\): give one number in pixels, or"),
        ({"num_heads": 3, "img_size": 0}, "img_size is 0: give one number"),
        ({"num_heads": 3, "patch_size": 5}, "a patch of 48 values does not match patch_size=5"),
        ({"num_heads": 3, "in_chans": 0}, "a patch of 48 values does not match in_chans=0"),
        ({"num_heads": 3, "in_chans": 4}, "a patch of 48 values does not match in_chans=4"),
    ],
)
def test_wrong_or_missing_hints(write, hints, sentence):
    file = write(official(TOY))
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **hints)
    assert str(error.value).startswith(f"{file}: ")


def test_ambiguous_pictures_ask_for_their_size(write):
    rectangle = CRATEConfig(img_size=(8, 20), patch_size=4, embed_dim=12, depth=2, num_heads=3)
    with pytest.raises(ValueError, match=r"10 patches are not a square grid: give img_size=\(height, width\)"):
        load_checkpoint(write(official(rectangle)), num_heads=3)
    grey = CRATEConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, in_chans=1)
    with pytest.raises(
        ValueError, match=r"a patch of 16 values does not match .*give patch_size=\(rows, columns\), in_chans="
    ):
        load_checkpoint(write(official(grey)), num_heads=3)


def test_every_missing_tensor_is_named(write):
    tensors = official(TOY)
    for key in tensors:
        if ".to_out." in key and key.endswith("0.weight") and ".0.0." in key:
            continue
        with pytest.raises(ValueError, match=f"tensor '{key}' is missing"):
            load_checkpoint(write({k: v for k, v in tensors.items() if k != key}), num_heads=3)


def test_every_wrong_shape_and_every_nan_is_named(write):
    tensors = official(TOY)
    for key, tensor in tensors.items():
        with pytest.raises(ValueError, match=f"tensor '{key}' contains values that are not finite"):
            load_checkpoint(write(tensors | {key: torch.full_like(tensor, float("nan"))}), num_heads=3)
        longer = torch.cat([tensor, tensor], dim=-1)
        with pytest.raises(ValueError) as error:  # the number of tokens and of classes has too few witnesses
            load_checkpoint(write(tensors | {key: longer}), num_heads=3)
        assert key in str(error.value) or key in ("pos_embedding", "mlp_head.1.bias")
        with pytest.raises(ValueError):
            load_checkpoint(write(tensors | {key: torch.tensor(1.0)}), num_heads=3)


@pytest.mark.parametrize("key", ["extra", "transformer.layers.7.0.norm.weight", "mlp_head.2.weight", "head.bias"])
def test_an_unknown_tensor_is_named(write, key):
    with pytest.raises(ValueError, match=f"tensor '{key}' is unknown in this checkpoint format"):
        load_checkpoint(write(official(TOY) | {key: torch.zeros(12)}), num_heads=3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "contains a list, not a dictionary of tensors"),
        ({}, "contains no tensors"),
        ({"state_dict": {}}, "contains no tensors"),
        ({"weights": 3}, "its entry 'weights' is not a tensor"),
        ({1: torch.zeros(1)}, "its entry 1 is not a tensor"),
        ({"conv.weight": torch.zeros(1)}, "has an unknown format, with tensors such as 'conv.weight'; known formats"),
    ],
)
def test_files_that_are_no_crate(write, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(write(content))


def test_other_families_are_not_taken_for_crate(shared):
    for name in (
        "crate-alpha/alpha_base.pth",
        "crate-mae/mae_lambda0.5-checkpoint-799.pth",
        "tost-vision/tost_p8_checkpoint.pth",
    ):
        assert not recognises(read_tensors(shared / "golden" / name)[0].keys())


class Malicious:
    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, legacy):
    bomb = Malicious()
    bomb.target = tmp_path / "executed"
    content = {"state_dict": official(TOY), "optimizer": bomb}
    torch.save(content, tmp_path / "bomb.pth.tar", _use_new_zipfile_serialization=not legacy)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(bomb, protocol=2))
    (tmp_path / "newer.pth").write_bytes(pickle.dumps(bomb, protocol=5))
    for name in ("bomb.pth.tar", "plain.pth"):
        with pytest.raises(ValueError, match=r"is refused: it contains (posix|nt).mkdir.*nothing was executed"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(ValueError, match=r"newer.pth is not a readable checkpoint"):
        load_checkpoint(tmp_path / "newer.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("keep", [0, 1, 10, 500, 0.5, 0.99])
def test_truncated_files(write, keep):
    file = write({"state_dict": official(TOY)}, "model.pth.tar")
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"model.pth.tar is (empty|not a readable checkpoint)"):
        load_checkpoint(file)


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n", b"\x80\x02garbage", b"PK\x03\x04garbage", b"c" * 1000]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_files(tmp_path, content, suffix):
    (tmp_path / f"file{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        load_checkpoint(tmp_path / f"file{suffix}")
