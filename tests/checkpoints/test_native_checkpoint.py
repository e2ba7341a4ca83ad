"""This package's own checkpoints: what is written, what is read back, what is refused."""

import dataclasses
import errno
import json
import os
import resource

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from crate_transformer.checkpoints import load_checkpoint, model_card, save_checkpoint, save_official
from crate_transformer.models import CRATE, CRATEConfig, build_model
from crate_transformer.storage import write_files

CONFIG = CRATEConfig(img_size=(8, 12), patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=3, step_size=0.2)


@pytest.fixture
def model():
    model = CRATE(CONFIG).eval()
    model.class_names = ("cat", "dog", "Möwe")
    model.preprocessing = dataclasses.replace(model.preprocessing, crop_pct=1.0, mean=(0.1, 0.2, 0.3))
    return model


@pytest.fixture
def saved(model, tmp_path):
    return save_checkpoint(model, tmp_path / "saved", model_card="# Card\n", metadata={"accuracy": 0.5})


def test_everything_travels(model, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (saved / "README.md").read_text() == "# Card\n"
    for path in (saved, str(saved), saved / "config.json", saved / "model.safetensors"):
        loaded = load_checkpoint(path)
        assert loaded.config == model.config
        assert loaded.class_names == model.class_names
        assert loaded.preprocessing == model.preprocessing
        assert loaded.provenance.metadata == {"accuracy": 0.5}
        assert loaded.provenance.source == str(saved)
        for key, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor)
        assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert json.loads((saved / "config.json").read_text())["family"] == "CRATE"


def test_loading_does_not_touch_the_random_state(saved):
    before = torch.random.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_disk(model, tmp_path, dtype):
    full = save_checkpoint(model, tmp_path / "full")
    half = save_checkpoint(model, tmp_path / "half", dtype=dtype)
    with safe_open(half / "model.safetensors", "pt") as file:
        assert file.get_tensor("head.weight").dtype == dtype
    values = 2 * sum(parameter.numel() for parameter in model.parameters())
    saving = (full / "model.safetensors").stat().st_size - (half / "model.safetensors").stat().st_size
    assert abs(saving - values) < 200
    loaded = load_checkpoint(half)
    assert loaded.head.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.head.weight, model.head.weight, rtol=1e-2, atol=1e-3)
    assert model.head.weight.dtype == torch.float32


def test_hints_may_only_confirm(saved):
    assert load_checkpoint(saved, num_heads=3, img_size=(8, 12)).provenance.hints == {
        "num_heads": 3,
        "img_size": (8, 12),
    }
    with pytest.raises(ValueError, match="num_classes=10 contradicts the tensors, which say 3") as error:
        load_checkpoint(saved, num_classes=10)
    assert str(saved) in str(error.value)
    with pytest.raises(ValueError, match=r"'heads' is not an option of this model; its options are .*num_heads"):
        load_checkpoint(saved, heads=3)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_old_checkpoint(saved, monkeypatch):
    before = contents(saved)
    bigger = CRATE(dataclasses.replace(CONFIG, depth=4))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for folder in (saved, saved.parent / "new"):
        with pytest.raises(
            OSError, match=f"cannot write into {folder}: No space left on device; nothing there was changed$"
        ):
            save_checkpoint(bigger, folder)
    assert contents(saved) == before
    assert not (saved.parent / "new").exists()


def test_a_write_that_really_stops_half_way(saved):
    before, limits = contents(saved), resource.getrlimit(resource.RLIMIT_FSIZE)
    bigger = CRATE(dataclasses.replace(CONFIG, depth=4))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write into .*File too large"):
            save_checkpoint(bigger, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(saved) == before


def test_an_interrupt_leaves_no_temporary_files(saved, monkeypatch):
    before = contents(saved)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_files(saved, {"config.json": b"{}"})
    assert contents(saved) == before


def test_a_file_in_the_place_of_the_folder(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=f"cannot write into {tmp_path}/file"):
        save_checkpoint(model, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_metadata_that_json_cannot_hold(model, tmp_path):
    with pytest.raises(ValueError, match="metadata cannot be written as JSON"):
        save_checkpoint(model, tmp_path / "saved", metadata={"model": model})
    assert not (tmp_path / "saved").exists()


def test_class_names_that_do_not_fit(model, tmp_path):
    model.class_names = ("cat",)
    with pytest.raises(ValueError, match="class_names has 1 names for num_classes 3"):
        save_checkpoint(model, tmp_path / "saved")


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"inside": value}
    return value


def edit(saved, change):
    description = json.loads((saved / "config.json").read_text())
    change(description)
    (saved / "config.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.update(format="another"), "config.json is not valid: .*format"),
        (lambda d: d.update(format_version=2), "config.json is not valid: .*format_version"),
        (lambda d: d.update(family="MAMBA"), "config.json has the unknown model family 'MAMBA'; known families"),
        (lambda d: d.pop("family"), "config.json is not valid: .*family"),
        (lambda d: d.update(family=["CRATE"]), "config.json is not valid: .*family"),
        (lambda d: d.pop("config"), "config.json is not valid: .*config"),
        (lambda d: d.update(config=[]), "config.json is not valid: .*config"),
        (lambda d: d["config"].pop("embed_dim"), "config of a CRATE, is not valid: .*embed_dim"),
        (lambda d: d["config"].update(extra=1), "saved: 'extra' is not an option of this model"),
        (lambda d: d["config"].update(depth="2"), "config of a CRATE, is not valid: .*depth"),
        (lambda d: d["config"].update(depth=True), "config of a CRATE, is not valid: .*depth"),
        (lambda d: d["config"].update(img_size=[8]), "config of a CRATE, is not valid"),
        (lambda d: d["config"].update(img_size=10**9), "saved: .*img_size is"),
        (lambda d: d["config"].update(in_chans=10**30), "saved: this configuration is not valid for CRATE"),
        (lambda d: d["config"].update(step_size=-1e9), "step_size is -1000000000.0: it must be above 0"),
        (lambda d: d["config"].update(step_size=10**400), "is too large"),
        (lambda d: d["config"].update(sparsity_weight=-0.1), "sparsity_weight is -0.1: it must be at least 0"),
        (lambda d: d["config"].update(num_heads=5), "saved: .*dim 12 is not a multiple of num_heads 5"),
        (lambda d: d["config"].update(depth=3), "saved: tensor 'blocks.2.norm1.weight' is missing"),
        (lambda d: d["config"].update(depth=1), "saved: tensor 'blocks.1.*' is not part of this CRATE"),
        (lambda d: d["config"].update(depth=10**9), "saved: depth is 1000000000, but there are only"),
        (lambda d: d["config"].update(embed_dim=15), "saved: tensor 'cls_token' has shape .*12.*, expected .*15"),
        (lambda d: d.pop("preprocessing"), "config.json: its preprocessing has .*, expected .*'std'"),
        (lambda d: d.update(preprocessing={}), "config.json: its preprocessing has .*, expected .*'std'"),
        (lambda d: d["preprocessing"].pop("std"), "config.json: its preprocessing has .*, expected .*'std'"),
        (lambda d: d["preprocessing"].update(zoom=1), "config.json: its preprocessing has .*'zoom'.*, expected"),
        (lambda d: d["preprocessing"].update(crop_pct=0.0), "its preprocessing, .*crop_pct is 0.0"),
        (lambda d: d["preprocessing"].update(mean=["a"] * 3), "its preprocessing, .*mean"),
        (lambda d: d["preprocessing"].update(img_size=[2048, 2048], crop_pct=1.0), "512 x 512 patches per image"),
        (lambda d: d.update(class_names=["cat"]), "class_names has 1 names for num_classes 3"),
        (lambda d: d.update(class_names=["cat", "dog", 3]), "config.json is not valid: .*class_names"),
        (lambda d: d.update(metadata=3), "config.json is not valid: .*metadata"),
        (lambda d: d.update(metadata=nested(100)), "its metadata is nested more than 64 levels deep"),
        (lambda d: d.update(weights_sha256=3), "config.json is not valid: .*weights_sha256"),
    ],
)
def test_wrong_descriptions(saved, change, sentence):
    edit(saved, change)
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(saved)
    assert str(saved) in str(error.value)


def test_a_config_with_nan_is_no_json(saved):
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace("0.1,\n", "NaN,\n", 1))
    with pytest.raises(ValueError, match=r"config.json is not readable JSON: NaN is not a JSON number"):
        load_checkpoint(saved)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"family": "CRATE", "config": {}', "\x00\xff"])
def test_broken_json(saved, text):
    (saved / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config.json is not readable JSON"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_the_files(saved, name):
    (saved / name).unlink()
    with pytest.raises(ValueError, match=f"{saved} is not a checkpoint: it has no {name}"):
        load_checkpoint(saved)


def broken(saved, key, tensor):
    tensors = load_file(saved / "model.safetensors")
    tensors = {k: t for k, t in tensors.items() if k != key} if tensor is None else tensors | {key: tensor}
    save_file(tensors, saved / "model.safetensors")
    edit(saved, lambda d: d.pop("weights_sha256"))  # as older versions of this package wrote it
    return saved


@pytest.mark.parametrize(
    ("key", "tensor", "sentence"),
    [
        ("head.weight", None, "tensor 'head.weight' is missing"),
        ("extra", torch.zeros(2), "tensor 'extra' is not part of this CRATE"),
        ("head.bias", torch.zeros(4), r"tensor 'head.bias' has shape \(4,\), expected \(3,\)"),
        ("head.bias", torch.zeros(3, dtype=torch.int64), "tensor 'head.bias' has dtype torch.int64"),
        ("head.bias", torch.tensor([0, float("nan"), 0]), "tensor 'head.bias' contains values that are not finite"),
        (
            "head.bias",
            torch.tensor([0, 1e300, 0], dtype=torch.float64),
            "tensor 'head.bias' contains values that are not finite",
        ),
    ],
)
def test_wrong_weights_are_named(saved, key, tensor, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(broken(saved, key, tensor))


@pytest.mark.parametrize("keep", [0, 5, 100, 2000])
def test_truncated_weights(saved, keep):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged or was replaced"):
        load_checkpoint(saved)
    edit(saved, lambda d: d.pop("weights_sha256"))
    with pytest.raises(ValueError, match=r"model.safetensors is (empty|not a readable checkpoint)"):
        load_checkpoint(saved)


def test_every_changed_byte_of_the_weights_is_noticed(saved):
    file = saved / "model.safetensors"
    content = file.read_bytes()
    for place in range(0, len(content), len(content) // 20):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"model.safetensors is damaged or was replaced: its SHA-256 is"):
            load_checkpoint(saved)
    file.write_bytes(content)
    assert load_checkpoint(saved)


def test_folders_without_a_checksum_still_load(model, saved):
    edit(saved, lambda d: d.pop("weights_sha256"))
    assert torch.equal(load_checkpoint(saved).head.weight, model.head.weight)


class Outer(CRATE):
    pass


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager"),
        torch.nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        lambda model: torch.nn.DataParallel(torch.compile(model, backend="eager")),
        lambda model: torch.compile(torch.nn.DataParallel(model), backend="eager"),
    ],
    ids=["compile", "DataParallel", "AveragedModel", "DataParallel of compile", "compile of DataParallel"],
)
def test_the_model_inside_a_wrapper_is_saved(model, tmp_path, wrap):
    wrapped = wrap(model)
    loaded = load_checkpoint(save_checkpoint(wrapped, tmp_path / "saved"))
    assert type(loaded) is CRATE and loaded.class_names == model.class_names
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in model.state_dict().items())
    save_official(wrapped, tmp_path / "official.pth")
    again = load_checkpoint(tmp_path / "official.pth", num_heads=3, img_size=(8, 12))
    assert torch.equal(again.head.weight, model.head.weight)
    assert "A CRATE with" in model_card(wrapped, "saved", {})


def with_another_head(model):
    model.head = torch.nn.Sequential(torch.nn.Linear(12, 4), torch.nn.Linear(4, 3))
    return model


def with_more_classes(model):
    model.head = torch.nn.Linear(12, 7)
    return model


def diverged(model):
    model.blocks[1].norm1.weight.data[3] = float("nan")
    return model


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda model: torch.nn.Linear(2, 2), "Linear is not a model of this package, and not a known wrapper of one"),
        (lambda model: torch.nn.Sequential(model), "Sequential is not a model of this package"),
        (lambda model: Outer(model.config), "Outer cannot be saved, because it could not be loaded again"),
        (with_another_head, r"tensor 'head\.0\.weight' is not part of this CRATE"),
        (with_more_classes, r"tensor 'head\.weight' has shape \(7, 12\), expected \(3, 12\)"),
        (diverged, r"tensor 'blocks\.1\.norm1\.weight' contains values that are not finite"),
        (lambda model: model.fold(), "a folded model is for inference only"),
    ],
)
def test_what_nothing_could_load_is_not_saved(model, tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        save_checkpoint(change(model), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_values_that_a_smaller_type_cannot_hold_are_not_saved(model, tmp_path):
    with torch.no_grad():
        model.head.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"tensor 'head\.bias' contains values that are not finite"):
        save_checkpoint(model, tmp_path / "saved", dtype=torch.float16)
    assert save_checkpoint(model, tmp_path / "saved", dtype=torch.bfloat16).is_dir()


@pytest.mark.parametrize("names", [{0: "a", 1: "b", 2: "c"}, ("a", "b", 3), "abc"])
def test_class_names_of_another_kind(model, tmp_path, names):
    model.class_names = names
    with pytest.raises(ValueError, match="it must be a tuple with the name of every class, in order"):
        save_checkpoint(model, tmp_path / "saved")


def test_metadata_come_back_as_they_were(model, tmp_path):
    facts = {
        "loss": 0.12345678901234567,
        "diverged": float("nan"),
        "curve": np.float32([0.5, 0.25]),
        "count": np.int64(7),
        "folder": tmp_path,
        "large": 10**40,
        "name": "caf\udce9 \x1b[31m",
        "nested": nested(50),
    }
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "saved", metadata=facts)).provenance.metadata
    assert loaded == facts | {"diverged": None, "curve": [0.5, 0.25], "count": 7, "folder": str(tmp_path)}
    with pytest.raises(ValueError, match="metadata is nested more than 64 levels deep"):
        save_checkpoint(model, tmp_path / "deep", metadata=nested(100))
    with pytest.raises(ValueError, match="metadata has more than 33,554,432 characters as JSON"):
        save_checkpoint(model, tmp_path / "long", metadata={"list": "a" * (33 << 20)})


def test_class_names_that_are_not_unicode_travel(model, tmp_path):
    model.class_names = ("cat", "caf\udce9", "a\nb")
    assert load_checkpoint(save_checkpoint(model, tmp_path / "saved")).class_names == model.class_names


@pytest.mark.parametrize(("family", "option"), [("CRATEMAE", "decoder_depth"), ("ToST", "num_class_layers")])
def test_more_layers_than_tensors_take_no_time(tmp_path, family, option):
    name = {"CRATEMAE": "crate_mae_tiny_patch16_224", "ToST": "tost_tiny_patch16_224"}[family]
    model = build_model(name, img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=3)
    saved = save_checkpoint(model, tmp_path / "saved")
    edit(saved, lambda d: d["config"].update({option: 10**9}))
    with pytest.raises(ValueError, match=f"{option} is 1000000000, but there are only"):
        load_checkpoint(saved)
