"""Files of unknown origin: ordinary tensors only, memory bounded before it is taken, checksums compared."""

import argparse
import collections
import os
import pathlib
import pickle
import random
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from crate_transformer.checkpoints import load_checkpoint, save_official
from crate_transformer.checkpoints.npz import NpzTensors
from crate_transformer.models import CRATE, CRATEConfig

CONFIG = CRATEConfig(img_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5)
KEY = "transformer.layers.0.0.fn.qkv.weight"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The state dict of an official CRATE, and the model that it belongs to."""
    model = CRATE(CONFIG).eval()
    file = tmp_path_factory.mktemp("official") / "model.pth"
    save_official(model, file)
    state = torch.load(file, weights_only=True)["state_dict"]
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}, model


@pytest.fixture
def write(tmp_path):
    def write(content, name="model.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def same(model, other):
    return all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in model.state_dict().items())


UNUSUAL = {
    "nested": lambda t: torch.nested.nested_tensor([t[:4], t[4:]]),
    "sparse": lambda t: t.to_sparse(),
    "sparse rows": lambda t: t.to_sparse_csr(),
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    "without values": lambda t: t.to("meta"),
    "of type torch.float8": lambda t: t.to(torch.float8_e4m3fn),
    "of type torch.complex": lambda t: t.to(torch.complex64),
}


@pytest.mark.filterwarnings("ignore")  # PyTorch deprecates some of these kinds
@pytest.mark.parametrize("kind", UNUSUAL)
def test_only_ordinary_tensors_are_taken(write, official, kind):
    tensors, model = official
    unusual = UNUSUAL[kind](tensors[KEY])
    file = write({"state_dict": tensors | {KEY: unusual}})
    with pytest.raises(
        ValueError, match=rf"{file}: tensor '{KEY}' is {kind.removesuffix(' rows')}.*: store dense values"
    ):
        load_checkpoint(file, num_heads=3)
    beside = load_checkpoint(write({"state_dict": tensors, "running": unusual, "epoch": 3}), num_heads=3)
    assert same(model, beside) and beside.provenance.metadata == {"epoch": 3}


def test_a_tensor_of_8_bits_in_a_safetensors_file(tmp_path, official):
    tensors, _ = official
    save_file(tensors | {KEY: tensors[KEY].to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"tensor '{KEY}' is of type torch.float8"):
        load_checkpoint(tmp_path / "model.safetensors", num_heads=3)


def test_memory_is_bounded_before_it_is_taken(write, official):
    tensors, _ = official
    repeated = torch.zeros(1).expand(10**6, 10**6)  # 4 TB that are one number on disk
    with pytest.raises(ValueError, match=r"but its tensors would take 4,000,000,\d{3},\d{3}: .*larger max_expansion="):
        load_checkpoint(write(tensors | {KEY: repeated}), num_heads=3)
    block = torch.zeros(2**20)
    aliases = {f"transformer.layers.{layer}.0.norm.weight": block for layer in range(1000)}
    with pytest.raises(ValueError, match="but its tensors would take"):
        load_checkpoint(write(aliases), num_heads=3)


def test_an_archive_of_arrays_is_bounded_and_the_bound_can_be_raised(tmp_path):
    file = tmp_path / "large.npz"
    np.savez_compressed(file, **{"Transformer/encoderblock_0/OvercompleteISTABlock_0/D": np.zeros(30 * 2**20, "f4")})
    assert file.stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"but its tensors would take 125,829,\d{3}"):
        load_checkpoint(file)
    with pytest.raises(ValueError, match="is missing"):  # read, and then no CRATE-alpha
        load_checkpoint(file, max_expansion=2000)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"max_expansion is {wrong}: it must be an integer of at least 1"):
            load_checkpoint(file, max_expansion=wrong)


def test_a_pickle_cannot_grow_without_end(tmp_path):
    """A few bytes that PyTorch's reader would double 40 times; both formats."""
    grow = b"c_codecs\nencode\n"
    bomb = b"\x80\x02}X\x01\x00\x00\x00a" + 41 * grow + b"X\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R"
    bomb += 40 * b"X\x03\x00\x00\x00hex\x86R" + b"s."
    (tmp_path / "older.pth").write_bytes(bomb)
    torch.save({"a": torch.zeros(1)}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "newer.pth", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, bomb if name.endswith("data.pkl") else good.read(name))
    for name in ("older.pth", "newer.pth"):
        with pytest.raises(ValueError, match=f"{name} is not a readable checkpoint"):
            load_checkpoint(tmp_path / name)


def test_changed_bytes_are_noticed(write, official, tmp_path, seed=0):
    """Every bit flip in an archive is refused, or it changes no weight (names and padding that nobody reads)."""
    tensors, model = official
    content = write({"state_dict": tensors, "epoch": 1}).read_bytes()
    draw, refused = random.Random(seed), 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (tmp_path / "damaged.pth").write_bytes(damaged)
        try:
            loaded = load_checkpoint(tmp_path / "damaged.pth", num_heads=3)
        except ValueError:
            refused += 1
        else:
            assert same(model, loaded)
    assert refused


def test_a_tensor_cannot_take_the_place_of_its_neighbour(write, official, tmp_path):
    """A longer extra field in its header moves PyTorch's reading on, often to the next values of that size."""
    file = write({"state_dict": official[0]})
    content = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        headers = [info.header_offset for info in archive.infolist() if "/data/" in info.filename]
    for header in headers:
        moved = bytearray(content)
        moved[header + 28] ^= 0x80
        (tmp_path / "moved.pth").write_bytes(moved)
        with pytest.raises(ValueError, match=r"moved\.pth is not a readable checkpoint: truncated, damaged"):
            load_checkpoint(tmp_path / "moved.pth", num_heads=3)


def test_a_flipped_bit_of_a_value_is_named(write, official, tmp_path):
    tensors, _ = official
    content = bytearray(write(tensors).read_bytes())
    place = content.index(tensors[KEY].numpy().tobytes())
    content[place + 5] ^= 1
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"damaged.pth is damaged: the values of tensor '{KEY}' do not match their checksum"
    ):
        load_checkpoint(tmp_path / "damaged.pth", num_heads=3)


def test_archives_without_checksums_have_nothing_to_compare_with(write, official):
    tensors, model = official
    torch.serialization.set_crc32_options(False)
    try:
        file = write(tensors)
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(file) as archive:
        assert not any(member.CRC for member in archive.infolist())
    assert same(model, load_checkpoint(file, num_heads=3))


def test_an_archive_that_was_compressed_afterwards_is_refused(write, official, tmp_path):
    with zipfile.ZipFile(write(official[0])) as good, zipfile.ZipFile(tmp_path / "packed.pth", "w", 8) as packed:
        for name in good.namelist():
            packed.writestr(name, good.read(name))
    with pytest.raises(ValueError, match=r"packed.pth is refused: its members are compressed, store them without"):
        load_checkpoint(tmp_path / "packed.pth")


PREFIXES = (
    "module.",
    "module.module.",
    "_orig_mod.module.",
    "module._orig_mod.",
    "model.",
    "net.",
    "model.net._orig_mod.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_come_off(write, official, prefix):
    tensors, model = official
    file = write({"state_dict": {prefix + key: tensor for key, tensor in tensors.items()}, "epoch": 1})
    assert same(model, load_checkpoint(file, num_heads=3))


def test_wrappers_inside_a_model_come_off(write, official):
    tensors, model = official
    inside = {key.replace(".layers.1.", ".layers.1._orig_mod."): tensor for key, tensor in tensors.items()}
    inside = {key.replace(".layers.0.", ".layers.0._checkpoint_wrapped_module."): t for key, t in inside.items()}
    assert same(model, load_checkpoint(write(inside), num_heads=3))
    twice = inside | {KEY: tensors[KEY]}
    with pytest.raises(ValueError, match="two tensors whose names differ only in a wrapper's prefix"):
        load_checkpoint(write(twice), num_heads=3)


def test_a_prefix_that_only_some_share_stays(write, official):
    tensors = {f"model.{key}": tensor for key, tensor in official[0].items()} | {"criterion.weight": torch.ones(5)}
    with pytest.raises(ValueError, match=r"has an unknown format, with tensors such as 'model\.cls_token'"):
        load_checkpoint(write(tensors), num_heads=3)


@pytest.mark.parametrize("entry", ["state_dict", "model", "model_state_dict", "net"])
def test_entries_that_hold_the_weights(write, official, entry):
    tensors, model = official
    optimizer = {"state": {0: {"momentum": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    assert same(model, load_checkpoint(write({entry: tensors, "optimizer": optimizer, "epoch": 2}), num_heads=3))


def test_of_several_entries_one_must_be_named(write, official):
    tensors, model = official
    file = write({"generator": {"conv.weight": torch.ones(1)}, "encoder": tensors})
    with pytest.raises(ValueError, match="several sets of weights, 'generator', 'encoder': choose one with weights="):
        load_checkpoint(file, num_heads=3)
    assert same(model, load_checkpoint(file, num_heads=3, weights="encoder"))


class AttributeDict(dict):
    """As in Lightning."""


class Settings:
    """As in OmegaConf."""

    def __init__(self):
        self.content = {"lr": 0.1}


def in_module(monkeypatch, kind, module, name):
    """Pickles of ``kind`` name it as a class of a package that is not there when the file is read."""
    for end in range(1, module.count(".") + 2):
        package = ".".join(module.split(".")[:end])
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    kind.__module__, kind.__qualname__ = module, name
    setattr(sys.modules[module], name, kind)


def test_plain_values_of_training_programs_are_read_and_their_classes_are_not(write, official, monkeypatch):
    tensors, model = official
    with monkeypatch.context() as foreign:
        in_module(foreign, AttributeDict, "lightning_fabric.utilities.data", "AttributeDict")
        in_module(foreign, Settings, "omegaconf.dictconfig", "DictConfig")
        counts = collections.defaultdict(int)
        counts["a"] = 2
        file = write(
            {
                "state_dict": {f"model.{key}": tensor for key, tensor in tensors.items()},
                "pytorch-lightning_version": "2.5",
                "hyper_parameters": AttributeDict(lr=0.1, data=pathlib.PurePosixPath("data")),
                "callbacks": {
                    "ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5), "dirpath": "x"}
                },
                "loops": {"fit_loop": {"state_dict": {}, "counts": counts}},
                "config": Settings(),
                "args": argparse.Namespace(lr=0.1),
                "best_acc1": np.float64(71.25),
                "best_top5": np.float32(0.5),
                "step": np.int64(12),
                "finished": np.bool_(True),
                "folder": pathlib.PurePosixPath("/data/imagenet"),
                "numpy_state": np.random.default_rng(0).random(4),
            }
        )
    assert "omegaconf" not in sys.modules
    loaded = load_checkpoint(file, num_heads=3)
    assert same(model, loaded)
    assert loaded.provenance.metadata == {
        "pytorch-lightning_version": "2.5",
        "best_acc1": 71.25,
        "best_top5": 0.5,
        "step": 12,
        "finished": True,
        "folder": "/data/imagenet",
    }


def test_a_function_is_no_plain_value(write, official):
    with pytest.raises(ValueError, match=r"is refused: it contains .*getcwd.*nothing was executed"):
        load_checkpoint(write({"state_dict": official[0], "where": os.getcwd}))
    hostile = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R."
    assert pickle.loads(hostile) == np.dtype("O")
    (pathlib.Path(write({})).parent / "dtype.pth").write_bytes(hostile)
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        load_checkpoint(pathlib.Path(write({})).parent / "dtype.pth")


def test_an_array_whose_bytes_changed_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", weights=np.arange(1000.0))
    content = bytearray((tmp_path / "model.npz").read_bytes())
    content[content.index(np.arange(1000.0).tobytes()) + 4000] ^= 1
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match="array 'weights' is refused: it contains no readable numbers"):
        NpzTensors(tmp_path / "model.npz", 16)["weights"]
