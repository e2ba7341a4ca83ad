"""Official CRATE-alpha files of every format: inference, hints, and everything that can be wrong with them."""

import dataclasses
import os
import re

import numpy as np
import pytest
import torch
from einops import rearrange

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.checkpoints import official_crate_alpha as alpha
from crate_transformer.checkpoints import official_crate_alpha_clipa as clipa
from crate_transformer.checkpoints import official_crate_alpha_jax as jax
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.loading import OFFICIAL_FORMATS
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.models import CRATEAlpha, CRATEAlphaConfig

TOY = CRATEAlphaConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5)
FORMATS = {"torch": alpha, "jax": jax, "clipa": clipa}
every_format = pytest.mark.parametrize("kind", FORMATS)


def renamed(kind, config):
    """Our tensors under official names, still in our layout."""
    state = CRATEAlpha(config).state_dict()
    module = FORMATS[kind]
    rows = module.RENAMED | alpha.unfold(module.RENAMED_IN_LAYER, config.depth)
    return {key: state[own] for key, own in rows.items() if own in state}


def official(kind, config=TOY):
    """Tensors as the official code of this kind saves them."""
    if kind == "torch":
        return renamed(kind, config)
    if kind == "jax":
        inverse = {end: " -> ".join(reversed(pattern.split(" -> "))) for end, pattern in jax.LAYOUT.items()}
        tensors = renamed(kind, config)
        for key in tensors:
            for end, pattern in inverse.items():
                if key.endswith(end):
                    known = {"heads": config.num_heads} if "heads" in pattern else {}
                    tensors[key] = rearrange(tensors[key], pattern, **known)
        return tensors
    tensors = renamed(kind, dataclasses.replace(config, patch_bias=False, head_bias=False))
    for key, tensor in tensors.items():
        if key == "visual.class_embedding":
            tensors[key] = tensor[0, 0]
        elif key == "visual.positional_embedding":
            tensors[key] = tensor[0]
        elif key == "visual.proj":
            tensors[key] = tensor.T
        elif key.endswith("in_proj_weight"):
            tensors[key] = torch.cat([tensor] * 3)
    text = ("positional_embedding", "text_projection", "token_embedding.weight", "transformer.resblocks.0.ln_1.weight")
    return tensors | {key: torch.zeros(2) for key in text} | {"logit_scale": torch.tensor(4.6)}


def text_tower(key):
    return not key.startswith("visual.")


@pytest.fixture
def write(tmp_path):
    def write(kind, tensors, name="model"):
        file = tmp_path / f"{name}{'.npz' if kind == 'jax' else '.pth'}"
        if kind == "jax":
            np.savez(file, **{key: np.asarray(value) for key, value in tensors.items()})
        else:
            torch.save(tensors, file)
        return file

    return write


def hints(kind):
    return {} if kind == "jax" else {"num_heads": 3}


@every_format
def test_the_architecture_is_found(write, kind):
    tensors = official(kind)
    model = load_checkpoint(write(kind, tensors), **hints(kind))
    expected = {
        "torch": dataclasses.replace(TOY, head_eps=1e-5),
        "jax": TOY,
        "clipa": dataclasses.replace(TOY, patch_bias=False, head_bias=False),
    }
    assert model.config == expected[kind]
    assert not model.training
    provenance = model.provenance
    assert provenance.assumed == {
        "step_size": 0.1,
        "sparsity_weight": 0.1,
        "global_pool": "token",
        "head_eps": expected[kind].head_eps,
    }
    assert ("num_heads" in provenance.inferred) == (kind == "jax")
    assert set(provenance.dropped) == {key for key in tensors if kind == "clipa" and text_tower(key)}


@every_format
def test_a_loaded_model_can_be_saved_as_our_own(write, tmp_path, kind):
    model, images = load_checkpoint(write(kind, official(kind)), **hints(kind)), torch.randn(2, 3, 16, 16)
    again = load_checkpoint(save_checkpoint(model, tmp_path / "ours"))
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


@every_format
def test_exactly_one_format_takes_the_file(kind):
    names = official(kind).keys()
    assert [known for known in OFFICIAL_FORMATS if known.recognises(names)] == [FORMATS[kind].FORMAT]


@pytest.mark.parametrize(("dim", "depth", "heads"), [(192, 12, 3), (576, 12, 12)])
def test_published_sizes_need_no_hint(write, dim, depth, heads):
    config = CRATEAlphaConfig(
        img_size=16, patch_size=8, embed_dim=dim, depth=depth, num_heads=heads, num_classes=2, num_atoms=4
    )
    model = load_checkpoint(write("torch", official("torch", config)), head_eps=1e-6)
    assert model.config == config
    assert {"num_heads", "num_atoms"} <= model.provenance.inferred.keys()


@pytest.mark.parametrize(
    ("kind", "config", "given"),
    [
        ("torch", {"num_heads": 1}, {}),
        ("torch", {"num_heads": 1, "has_out": True}, {"num_heads": 1}),
        ("torch", {"head_dim": 7, "num_atoms": 20}, {"num_heads": 3}),
        ("torch", {"img_size": (8, 20), "in_chans": 1}, {"num_heads": 3, "img_size": (8, 20)}),
        ("torch", {"img_size": (12, 8), "patch_size": (4, 2)}, {"num_heads": 3, "img_size": (12, 8)}),
        ("torch", {"step_size": 0.3, "head_eps": 1e-4}, {"num_heads": 3, "step_size": 0.3, "head_eps": 1e-4}),
        ("jax", {"num_heads": 1, "has_out": True}, {}),
        ("jax", {"head_dim": 7}, {}),
        ("clipa", {"num_heads": 4, "head_dim": 2}, {"num_heads": 4}),
    ],
)
def test_variants(write, kind, config, given):
    config = dataclasses.replace(TOY, **config)
    model = load_checkpoint(write(kind, official(kind, config)), **given)
    known = {"head_eps": model.config.head_eps} if "head_eps" not in given else {}
    biases = {"patch_bias": False, "head_bias": False} if kind == "clipa" else {}
    assert model.config == dataclasses.replace(config, **known, **biases)


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        ("torch", {}, "embed_dim 12 with depth 2 is not a published size: give num_heads="),
        ("clipa", {}, "embed_dim 12 with depth 2 is not a published size: give num_heads="),
        ("torch", {"num_heads": 5}, "num_heads=5 does not divide the 12 rows"),
        ("torch", {"num_heads": 0}, "num_heads=0 does not divide"),
        ("torch", {"num_heads": "3"}, "num_heads='3' is not a valid number"),
        ("jax", {"num_heads": 4}, "num_heads=4 contradicts the tensors, which say 3"),
        ("jax", {"heads": 3}, "'heads' is not an option of this model; its options are .*num_heads"),
        ("torch", {"num_heads": 3, "patch_size": 2}, "patch_size=2 contradicts the tensors, which say 4"),
        ("torch", {"num_heads": 3, "in_chans": 1}, "in_chans=1 contradicts the tensors, which say 3"),
        ("torch", {"num_heads": 3, "img_size": 20}, "img_size=20 does not give the 16 patches of 4 x 4"),
        ("clipa", {"num_heads": 3, "num_classes": 7}, "num_classes=7 contradicts the tensors, which say 5"),
        ("clipa", {"num_heads": 3, "head_bias": True}, "head_bias=True contradicts the tensors, which say False"),
        ("torch", {"num_heads": 3, "patch_bias": False}, "tensor 'conv1.bias' is not part of this CRATEAlpha"),
        ("torch", {"num_heads": 3, "num_atoms": 7}, "shape .*, expected"),
    ],
)
def test_wrong_or_missing_hints(write, kind, given, sentence):
    file = write(kind, official(kind))
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **given)
    assert str(error.value).startswith(f"{file}: ")


def build(kind, tensors):
    """What ``load_checkpoint`` does after reading the file."""
    found = FORMATS[kind].convert(tensors, hints(kind))
    return assemble(found.model_class, found.config, found.tensors, found.stored_names)


@every_format
def test_every_missing_tensor_is_named(kind):
    tensors = official(kind)
    for key in tensors:
        without = {name: tensor for name, tensor in tensors.items() if name != key}
        if kind == "clipa" and text_tower(key):
            build(kind, without)
            continue
        with pytest.raises(ValueError, match=f"tensor '{key}' is missing"):
            build(kind, without)


@every_format
def test_every_wrong_shape_and_every_nan_is_named(kind):
    three = dataclasses.replace(TOY, depth=3)  # so that two layers outvote the odd one
    tensors = {key: tensor for key, tensor in official(kind, three).items() if kind != "clipa" or not text_tower(key)}
    believed = {"conv1.weight", "visual.conv1.weight", "visual.proj"}  # the only witness of patch size or classes
    for key, tensor in tensors.items():
        if re.search(r"(layers\.|encoderblock_|resblocks\.)[02]", key):
            continue
        with pytest.raises(ValueError, match=f"tensor '{key}' contains values that are not finite"):
            build(kind, tensors | {key: torch.full_like(tensor, float("nan"))})
        wrong = [tensor[None], torch.tensor(1.0), tensor[..., :0]]
        wrong += [tensor.flatten()] if tensor.ndim > 1 else []
        wrong += [] if key in believed else [torch.cat([tensor, tensor], dim=-1)]
        for other in wrong:
            with pytest.raises(ValueError) as error:
                build(kind, tensors | {key: other})
            named = key in str(error.value)
            assert named or any(part in key for part in ("pos", "head", "conv1")), (key, other.shape, error.value)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("torch", "extra"),
        ("torch", "transformer.layers.7.0.norm.weight"),
        ("torch", "transformer.layers.0.0.fn.to_out.0.bias"),
        ("jax", "params/cls"),
        ("jax", "Transformer/encoderblock_0/extra"),
        ("clipa", "visual.conv1.bias"),
        ("clipa", "visual.ln_pre.weight"),
    ],
)
def test_an_unknown_tensor_is_named(write, kind, key):
    with pytest.raises(ValueError, match=r"tensor '.*' is unknown in this checkpoint format"):
        load_checkpoint(write(kind, official(kind) | {key: torch.zeros(12)}), **hints(kind))


def test_an_ordinary_attention_is_not_taken_for_mssa(write):
    tensors, key = official("clipa"), "visual.transformer.resblocks.1.attn.in_proj_weight"
    tensors[key] = tensors[key].clone()
    tensors[key][-1, -1] += 1e-6
    with pytest.raises(ValueError, match=f"tensor '{key}' is not one projection stored three times"):
        load_checkpoint(write("clipa", tensors), num_heads=3)


def test_swapped_axes_of_a_projection_are_noticed(write):
    tensors, key = official("jax"), "Transformer/encoderblock_1/MultiHeadDotProductSubspaceAttention_0/out/kernel"
    tensors[key] = rearrange(tensors[key], "heads head_dim dim -> head_dim heads dim")
    with pytest.raises(ValueError, match=rf"tensor '{key}' has shape \(4, 3, 12\), expected \(heads head_dim dim\)"):
        load_checkpoint(write("jax", tensors))


def test_a_training_checkpoint_is_its_parameters_and_the_rest_is_accounted_for(write):
    tensors = official("jax")
    state = {f"params/{key}": tensor for key, tensor in tensors.items()}
    state |= {f"opt/1/0/1/{key}": np.zeros(tensor.shape, dtype="V2") for key, tensor in tensors.items()}
    state |= {"opt/4/0/0": np.int32(7), "chrono/accum_train_time": np.float64(1.5)}
    bare, full = load_checkpoint(write("jax", tensors)), load_checkpoint(write("jax", state, "full"))
    assert full.config == bare.config
    assert all(torch.equal(full.state_dict()[name], value) for name, value in bare.state_dict().items())
    dropped = full.provenance.dropped
    assert dropped.keys() == {key for key in state if not key.startswith("params/")}
    assert set(dropped.values()) == {"optimiser state", "training clock"}
    assert f"and {len(tensors)} more (optimiser state)" in str(full.provenance)
    assert len(str(full.provenance)) < 1000


def test_two_bytes_without_a_type_are_bfloat16(write):
    tensors = official("jax")
    halves = {key: tensor.bfloat16().view(torch.int16).numpy().view("V2") for key, tensor in tensors.items()}
    model = load_checkpoint(write("jax", halves))
    expected = tensors["Transformer/encoderblock_1/OvercompleteISTABlock_0/D1"].bfloat16().float()
    assert torch.equal(model.blocks[1].odl.decoupled_dictionary, expected)


class Malicious:
    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_python_objects_in_an_archive_are_refused_and_not_executed(write, tmp_path):
    bomb = Malicious()
    bomb.target = tmp_path / "executed"
    file = write("jax", official("jax") | {"head/bias": np.array([bomb], dtype=object)})
    with pytest.raises(
        ValueError, match=r"array 'head/bias' is refused: it contains Python objects.*nothing was executed"
    ):
        load_checkpoint(file)
    ignored = write("jax", official("jax") | {"opt/1": np.array([bomb], dtype=object)})
    assert load_checkpoint(ignored).provenance.dropped == {"opt/1": "optimiser state"}
    assert not bomb.target.exists()


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.zeros(5, dtype=">f4"), np.zeros(5, dtype="V3")])
def test_arrays_that_are_no_tensors(write, values):
    with pytest.raises(ValueError, match="array 'head/bias' is refused: it contains no readable numbers"):
        load_checkpoint(write("jax", official("jax") | {"head/bias": values}))


@pytest.mark.parametrize("keep", [0, 1, 10, 500, 0.5, 0.99])
def test_truncated_archives(write, keep):
    file = write("jax", official("jax"))
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"model.npz is (empty|not a readable checkpoint)"):
        load_checkpoint(file)


def test_damaged_archives_and_other_files(write, tmp_path):
    file = write("jax", official("jax"))
    damaged = bytearray(file.read_bytes())
    place = damaged.find(b"OvercompleteISTABlock_0/D.npy") + 300
    damaged[place] ^= 0xFF
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"array 'Transformer/.*/D' is refused: it contains no readable numbers"):
        load_checkpoint(file)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npz").write_bytes((tmp_path / "array.npy").read_bytes())
    (tmp_path / "text.npz").write_text("hello")
    for name in ("array", "text"):
        with pytest.raises(ValueError, match=f"{name}.npz is not a readable checkpoint"):
            load_checkpoint(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="contains no tensors"):
        load_checkpoint(write("jax", {}, "nothing"))
    with pytest.raises(ValueError, match="has an unknown format, with tensors such as 'weights'"):
        load_checkpoint(write("jax", {"weights": torch.zeros(2)}, "other"))


def test_arrays_are_read_one_at_a_time(write):
    tensors, metadata = read_tensors(write("jax", official("jax")))
    assert metadata == {}
    assert len(tensors) == len(list(tensors)) == len(official("jax"))
    assert "cls" in tensors
    with pytest.raises(KeyError):
        tensors["nothing"]
