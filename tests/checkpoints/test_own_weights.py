"""Weights of our models without a configuration, as PyTorch, safetensors, timm and Lightning write them."""

import argparse
import json
from collections import defaultdict

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file, save_model

from crate_transformer.checkpoints import load_checkpoint, own_weights, save_checkpoint
from crate_transformer.models import BackboneConfig, build_language_model, build_model

NAME = "crate_micro_patch4_32"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(NAME, num_classes=7).eval()


@pytest.fixture
def save(tmp_path):
    def save(content, name="model.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def state(model, prefix="", scale=1.0):
    return {prefix + key: scale * tensor for key, tensor in model.state_dict().items()}


def same(model, other, scale=1.0):
    return all(torch.equal(scale * tensor, other.state_dict()[key]) for key, tensor in model.state_dict().items())


def as_timm(model):
    """As ``CheckpointSaver`` of timm's train.py."""
    return {
        "epoch": 3, "arch": NAME, "state_dict": state(model), "optimizer": {"state": {}, "param_groups": []},
        "version": 2, "args": argparse.Namespace(model=NAME, lr=0.1), "metric": 61.5,
        "state_dict_ema": state(model, scale=0.5),
    }  # fmt: skip


def as_lightning(model):
    """A module whose attribute ``net`` is the model."""
    return {
        "epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.5.0", "state_dict": state(model, "net."),
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": [],
    }  # fmt: skip


def as_lightning_average(model):
    """As Lightning's ``WeightAveraging``: the average is ``state_dict``."""
    raw = state(model, "net.", 2.0)
    return as_lightning(model) | {"current_model_state": raw, "averaging_state": {"n_averaged": torch.tensor(5)}}


WRITTEN = {
    "bare": lambda model: model.state_dict(),
    "wrapped": lambda model: torch.nn.DataParallel(model).state_dict(),
    "compiled": lambda model: state(model, "_orig_mod."),
    "timm": as_timm,
    "lightning": as_lightning,
    "lightning average": as_lightning_average,
    "average": lambda model: torch.optim.swa_utils.AveragedModel(model).state_dict(),
    "average inside": lambda model: torch.nn.ModuleDict({"e": torch.optim.swa_utils.AveragedModel(model)}).state_dict(),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_torch_files(model, save, kind):
    loaded = load_checkpoint(save(WRITTEN[kind](model)))
    assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
    assert same(model, loaded)
    assert loaded.provenance.inferred == {"model": NAME, "num_classes": 7, "img_size": 32}
    assert {"num_heads", "step_size", "global_pool", "mean"} < loaded.provenance.assumed.keys()
    assert loaded.preprocessing == model.preprocessing
    counters = [name for name in loaded.provenance.dropped if name.endswith("n_averaged")]
    assert len(counters) == kind.startswith("average")
    assert loaded.provenance.metadata.get("epoch") == (3 if kind.startswith(("timm", "lightning")) else None)


def test_safetensors(model, tmp_path):
    save_model(model, str(tmp_path / "model.safetensors"))
    assert same(model, load_checkpoint(tmp_path / "model.safetensors"))
    save_file(state(model, "module."), tmp_path / "other.safetensors")
    assert same(model, load_checkpoint(tmp_path / "other.safetensors"))


def shards(model, folder):
    save_torch_state_dict(model.state_dict(), str(folder), max_shard_size=300_000)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder / "model.safetensors.index.json"


def test_sharded_safetensors(model, tmp_path):
    index = shards(model, tmp_path)
    for place in (tmp_path, index):
        loaded = load_checkpoint(place)
        assert same(model, loaded) and loaded.provenance.inferred["model"] == NAME


def test_other_weights_in_the_file(model, save):
    file = save(as_timm(model))
    assert same(model, load_checkpoint(file, weights="state_dict_ema"), 0.5)
    inside = {
        "state_dict": state(model, "net.") | state(model, "ema.module.", 0.5) | {"ema.n_averaged": torch.tensor(5)}
    }
    file = save(inside | {"epoch": 3})
    with pytest.raises(ValueError, match="contains more than a model: give weights='net' or weights='ema'"):
        load_checkpoint(file)
    assert same(model, load_checkpoint(file, weights="net"))
    average = load_checkpoint(file, weights="ema")
    assert same(model, average, 0.5) and average.provenance.metadata == {"epoch": 3}
    with pytest.raises(ValueError, match="has no weights called 'head': it contains 'state_dict'"):
        load_checkpoint(file, weights="head")
    deeper = save({"steps": torch.tensor(9)} | state(model, "task.net.") | state(model, "task.teacher.", 0.5))
    with pytest.raises(ValueError, match=r"give weights='task\.net' or weights='task\.teacher'"):
        load_checkpoint(deeper)
    assert same(model, load_checkpoint(deeper, weights="task.teacher"), 0.5)


def test_other_sizes_of_images_and_classes_are_seen(save):
    other = build_model(NAME, img_size=16, num_classes=0)
    assert load_checkpoint(save(other.state_dict())).config == other.config
    wide = build_model(NAME, img_size=(16, 64))  # as many patches as 32 x 32
    assert load_checkpoint(save(wide.state_dict())).config.img_size == 32
    assert load_checkpoint(save(wide.state_dict()), img_size=(16, 64)).config == wide.config
    with pytest.raises(ValueError, match="num_classes=5 contradicts the tensors, which say 1000"):
        load_checkpoint(save(wide.state_dict()), model=NAME, num_classes=5)


def test_a_model_of_no_registered_shape_must_be_named(save):
    other = build_model(NAME, depth=2, num_heads=8, patch_size=8, reg_tokens=3)
    file = save(other.state_dict())
    with pytest.raises(ValueError, match="no registered model has these tensors and num_heads=8: give model= and all"):
        load_checkpoint(file, num_heads=8)
    options = {"depth": 2, "patch_size": 8, "reg_tokens": 3, "num_heads": 8}
    assert load_checkpoint(file, model=NAME, **options).config == other.config
    with pytest.raises(ValueError, match=r"tensor 'reg_token' is not part of this CRATE"):
        load_checkpoint(file, model=NAME)
    with pytest.raises(ValueError, match="'heads' is not an option of this model"):
        load_checkpoint(file, model=NAME, heads=8)
    for unknown in ("crate_of_tomorrow", 3):
        with pytest.raises(ValueError, match=f"there is no model '{unknown}'"):
            load_checkpoint(file, model=unknown)


def test_options_that_make_several_models_alike(save):
    sizes = {"embed_dim": 12, "depth": 1, "num_heads": 3, "patch_size": 4}
    file = save(build_model(NAME, **sizes).state_dict())
    with pytest.raises(ValueError, match=r"crate_tiny_patch16_224 and .* have these tensors and embed_dim=12"):
        load_checkpoint(file, **sizes)


def test_arch_is_the_model_and_other_words_are_ignored(model, save):
    other = build_model(NAME, depth=2, num_classes=7)
    file = save({"arch": f"{NAME}.mine", "state_dict": other.state_dict()})
    assert load_checkpoint(file, depth=2).config == other.config
    with pytest.raises(ValueError, match=r"model\.pt: tensor 'blocks\.2\..*' is missing"):
        load_checkpoint(file)
    assert same(model, load_checkpoint(save({"arch": "mine", "state_dict": model.state_dict()})))
    with pytest.raises(ValueError, match=r"tensor '.*' is not part of this ViT"):
        load_checkpoint(save({"arch": "vit_micro_patch4_32", "state_dict": model.state_dict()}))


@pytest.mark.parametrize(
    "name",
    ["vit_micro_patch4_32", "tost_tiny_patch8_224", "cbt_tiny_patch16_224", "crate_mae_micro_patch4_32",
     "crate_lm_micro", "aot_mini_patch8_64", "crate_micro_conv_patch4_32", "crate_alpha_mini_patch8_64"],
)  # fmt: skip
def test_every_family(save, name):
    other = (build_language_model if "_lm_" in name else build_model)(name).eval()
    loaded = load_checkpoint(save(other.state_dict()))
    assert type(loaded) is type(other) and loaded.config == other.config and same(other, loaded)


def test_no_two_registered_models_have_the_same_shapes():
    alike = defaultdict(list)
    for name, (kind, config) in own_weights.KNOWN.items():
        with torch.device("meta"):
            tensors = kind(config).state_dict()
        assert own_weights.recognises(tensors.keys()), name
        _, found = own_weights.configure(config, tensors, {})
        assert all(getattr(config, option) == value for option, value in found.items()), name
        if isinstance(config, BackboneConfig):  # the shapes of these follow from the number of classes and patches
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(("head.", "pos_embed"))}
        alike[tuple(sorted((key, tensor.shape) for key, tensor in tensors.items()))].append(name)
    assert [names for names in alike.values() if len(names) > 1] == []


def test_a_model_card_folder_is_read_as_before(model, tmp_path):
    folder = save_checkpoint(model, tmp_path / "saved")
    with pytest.raises(ValueError, match="'model' is not an option"):
        load_checkpoint(folder, model=NAME)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"is not a checkpoint: it has no config\.json"):
        load_checkpoint(folder)
    assert same(model, load_checkpoint(folder / "model.safetensors"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.replace("model-00001", "../model-00001"),
            r"index\.json names \.\./model-00001.*, which is not",
        ),
        (lambda text: text.replace("model-00001", "/dev/model-00001"), "which is not a .safetensors file beside it"),
        (lambda text: text.replace(".safetensors", ".pt"), "which is not a .safetensors file beside it"),
        (
            lambda text: text.replace('"cls_token"', '"clz_token"'),
            "has other tensors than model.safetensors.index.json",
        ),
        (
            lambda text: text.replace('"norm.bias": "', '"norm.bias": "a'),
            "is missing: model.safetensors.index.json names",
        ),
        (lambda text: text.replace("model-00001", "\\u0000\\u001b\\ud800"), r"/\\x00\\x1b\\ud800.* is missing"),
        (lambda text: "{}", "is not valid: .*weight_map"),
        (lambda text: '{"weight_map": {}}', "names no tensors"),
        (lambda text: '{"weight_map": {"a": 1}}', "is not valid"),
        (lambda text: "[" * 100_000, "is not readable JSON"),
        (lambda text: text[:-20], "is not readable JSON"),
    ],
)
def test_a_wrong_index_is_refused(model, tmp_path, change, sentence):
    index = shards(model, tmp_path)
    index.write_text(change(index.read_text()))
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load_checkpoint(tmp_path)


def test_wrong_files_of_an_index_are_refused(model, tmp_path):
    index = shards(model, tmp_path)
    first = min(tmp_path.glob("*.safetensors"))
    content = first.read_bytes()
    first.write_bytes(content[:-5])
    with pytest.raises(ValueError, match=f"{first} is not a readable checkpoint"):
        load_checkpoint(index)
    first.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{first} is empty"):
        load_checkpoint(index)
    first.unlink()
    with pytest.raises(FileNotFoundError, match=f"{first} is missing"):
        load_checkpoint(index)
    places = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": dict.fromkeys(places, index.name)}))
    with pytest.raises(ValueError, match=r"not a \.safetensors file beside it"):  # an index that names itself
        load_checkpoint(index)


@pytest.mark.parametrize("key", ["head.weight", "pos_embed", "norm.weight", "blocks.0.mssa.subspaces.weight"])
@pytest.mark.parametrize("hints", [{}, {"model": NAME}])
def test_tensors_of_odd_shapes_are_one_sentence(model, save, key, hints):
    for tensor in (torch.tensor(1.0), torch.zeros(0), torch.zeros(3, 0, 2)):
        with pytest.raises(ValueError, match=r"model\.pt: (tensor '|no registered model has these tensors)"):
            load_checkpoint(save(model.state_dict() | {key: tensor}), **hints)


def test_objects_are_refused(model, save):
    with pytest.raises(ValueError, match=r"model\.pt is refused: it contains .*\.CRATE, .*nothing was executed"):
        load_checkpoint(save(model))  # torch.save(model)


def test_tensors_of_nothing_known(tmp_path):
    save_file({"blocks.0.weight": torch.zeros(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"has an unknown format.*known formats: crate-transformer, weights alone, "):
        load_checkpoint(tmp_path / "x.safetensors")
