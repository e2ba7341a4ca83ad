"""A timm user does not notice that the models come from here."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from crate_transformer.checkpoints import create_model, list_pretrained, load_checkpoint, save_checkpoint
from crate_transformer.data import preprocess
from crate_transformer.integrations import __doc__ as about
from crate_transformer.models import MODELS
from crate_transformer.recipes.teachers import load_teacher

MICRO, MINI = "crate_micro_patch4_32", "crate_mini_patch8_64"
TAGGED = f"{MINI}.tiny_imagenet_100"


def test_the_integrations_are_optional():
    assert "optional" in about.lower()


def test_every_model_is_listed_and_those_of_timm_stay_its_own(timm):
    owned = {name for name in MODELS if timm.models.model_entrypoint(name).__module__.startswith("timm.")}
    assert owned == {name for name in MODELS if name.startswith("vit_") and name.endswith("_224")}
    assert set(timm.list_models("crate_*")) == {name for name in MODELS if name.startswith("crate_")}
    assert set(list_pretrained()) <= set(timm.list_pretrained("crate_*"))


@pytest.mark.parametrize("model_class", dict(MODELS.values()), ids=lambda c: c.__name__)
def test_options_reach_the_model(timm, model_class):
    ours = (n for n, (c, _) in MODELS.items() if c is model_class and n in timm.list_models(module="timm"))
    owned = [n for n in ours if not timm.models.model_entrypoint(n).__module__.startswith("timm.")]
    name = min(owned, key=lambda n: MODELS[n][1].embed_dim)
    size = 2 * max(MODELS[name][1].patch_shape)
    model = timm.create_model(name, num_classes=7, img_size=size, drop_path_rate=0.1, drop_rate=None, depth=2)
    assert type(model) is model_class
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)
    assert (model.config.drop_path_rate, model.config.drop_rate, model.config.depth) == (0.1, 0.0, 2)
    assert timm.data.resolve_data_config(model=model)["input_size"] == (3, size, size)


def test_an_unknown_option_is_refused(timm):
    with pytest.raises(TypeError, match=f"{MICRO} has no option 'mlp_ratio'"):
        timm.create_model(MICRO, mlp_ratio=3.0)
    with pytest.raises(TypeError, match=f"{MICRO} has no option 'out_indices'"):
        timm.create_model(MICRO, out_indices=(1,))


def test_features_only(timm):
    model = timm.create_model(MICRO, features_only=True, out_indices=(1, -3))
    assert model.feature_info.channels() == [128, 128]
    assert model.feature_info.reduction() == [4, 4]
    images = torch.randn(2, 3, 32, 16)
    maps = model(images)
    assert [m.shape for m in maps] == [(2, 128, 8, 4)] * 2
    whole = create_model(MICRO)
    missing = whole.load_state_dict(whole.state_dict() | model.model.state_dict())
    assert not missing.missing_keys
    assert all(map(torch.equal, maps, whole.forward_intermediates(images, (1, 3), intermediates_only=True)))
    assert len(model.model.blocks) == 4  # the rest, the norm and the head would never get a gradient
    sum(m.sum() for m in model(images)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(timm.create_model(MICRO, features_only=True)(images)) == 3


@pytest.mark.parametrize("kind", ["hook", "getter"])
def test_other_extractors(timm, kind):
    model = timm.create_model(MICRO, features_only=True, feature_cls=kind, out_indices=(0, 2))
    assert len(model(torch.randn(1, 3, 32, 32))) == 2


def test_weights_bundled(timm):
    ours = create_model(TAGGED, pretrained=True).eval()
    images = torch.randn(2, 3, 128, 128)
    for name in (TAGGED, MINI):
        model = timm.create_model(name, pretrained=True).eval()
        with torch.no_grad():
            assert torch.equal(model(images), ours(images))
        settings = timm.data.resolve_data_config(model=model)
        assert settings["input_size"] == (3, 128, 128)
        assert (settings["crop_pct"], settings["interpolation"]) == (1.0, "bilinear")
        assert settings["mean"] == ours.preprocessing.mean
        assert model.pretrained_cfg["label_names"] == model.class_names == ours.class_names
        assert (model.pretrained_cfg["architecture"], model.pretrained_cfg["tag"]) == (MINI, "tiny_imagenet_100")
        assert model.preprocessing == ours.preprocessing


def test_weights_are_adapted(timm):
    ours = create_model(TAGGED, pretrained=True)
    model = timm.create_model(TAGGED, pretrained=True, num_classes=3, img_size=96, drop_path_rate=0.2)
    assert model(torch.randn(2, 3, 96, 96)).shape == (2, 3)
    assert model.pos_embed.shape[1] == 145
    assert model.class_names is None
    assert timm.data.resolve_data_config(model=model)["input_size"] == (3, 96, 96)
    assert torch.equal(model.blocks[5].ista.dictionary, ours.blocks[5].ista.dictionary)
    features = timm.create_model(TAGGED, pretrained=True, features_only=True, out_indices=(0,))
    assert torch.equal(features.model.blocks[0].ista.dictionary, ours.blocks[0].ista.dictionary)


def test_weights_from_a_file(timm, tmp_path):
    model = create_model(MICRO, num_classes=4).eval()
    file = save_checkpoint(model, tmp_path / "mine") / "model.safetensors"
    overlay = {"file": str(file), "num_classes": 4, "mean": [0.5, 0.5, 0.5], "label_names": tuple("abcd")}
    loaded = timm.create_model(MICRO, pretrained=True, num_classes=4, pretrained_cfg_overlay=overlay).eval()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5)
    assert loaded.class_names == tuple("abcd")
    assert torch.equal(timm.create_model(MICRO, num_classes=4, checkpoint_path=file).eval()(images), model(images))


def test_timm_saves_and_loads_it(timm, tmp_path):
    model = timm.create_model(MICRO, num_classes=4, img_size=16, step_size=0.2).eval()
    timm.models.save_for_hf(model, tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(loaded(images), model(images))
    assert (loaded.config, loaded.preprocessing) == (model.config, model.preprocessing)


def test_no_weights(timm):
    with pytest.raises(RuntimeError, match="No pretrained weights exist for crate_tiny"):
        timm.create_model("crate_tiny_patch16_224", pretrained=True)
    with pytest.raises(ValueError, match="in_chans=1 does not match the weights"):
        timm.create_model(TAGGED, pretrained=True, in_chans=1)


def test_layer_wise_decay(timm):
    from timm.optim import create_optimizer_v2

    model = timm.create_model(MICRO, num_classes=3)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    expected = {
        "head": 1.0,
        "norm": 0.5,
        "blocks.5": 0.5,
        "blocks.0": 0.5**6,
        "patch_embed": 0.5**7,
        "cls_token": 0.5**7,
    }
    for name, parameter in model.named_parameters():
        for start, value in expected.items():
            if name.startswith(f"{start}.") or name == start:
                assert scale[id(parameter)] == value, name
    assert decay[id(model.pos_embed)] == 0
    assert decay[id(model.blocks[0].ista.dictionary)] == 0.05


def test_timm_transforms_are_ours(timm):
    model = timm.create_model(TAGGED, pretrained=True)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    image = Image.effect_mandelbrot((200, 150), (-3, -2.5, 2, 2.5), 30).convert("RGB")
    torch.testing.assert_close(transform(image), preprocess(image, model.preprocessing), rtol=0, atol=1e-5)


def test_set_input_size_and_reset(timm):
    model = timm.create_model(MICRO)
    model.set_input_size((16, 48))
    model.reset_classifier(5, "avg")
    assert model(torch.randn(1, 3, 16, 48)).shape == (1, 5)
    assert timm.data.resolve_data_config(model=model)["input_size"] == (3, 16, 48)


def test_all_tokens_without_pooling(timm):
    images = torch.randn(2, 3, 32, 16)
    model = timm.create_model(MICRO, num_classes=0, global_pool="").eval()
    tokens = model(images)
    assert tokens.shape == (2, 33, model.head_hidden_size)
    assert torch.equal(tokens, model.norm(model.forward_features(images)))
    model.reset_classifier(0, "token")
    assert torch.equal(model(images), tokens[:, 0])
    with pytest.raises(ValueError, match="global_pool '' returns all tokens and needs num_classes=0"):
        model.reset_classifier(3, "")


def test_device_and_precision(timm):
    model = timm.create_model(MICRO, device="meta", dtype=torch.float64)
    assert {(t.device.type, t.dtype) for t in model.state_dict().values()} == {("meta", torch.float64)}
    assert timm.create_model(TAGGED, pretrained=True, dtype=torch.bfloat16).head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(("name", "first"), [(MICRO, ()), ("cbt_mini_patch8_64", "patch_embed.convs.0")])
def test_the_first_convolution(timm, name, first):
    model = timm.create_model(name, in_chans=1)
    assert model.default_cfg["first_conv"] == first
    assert model.in_chans == model.default_cfg["input_size"][0] == 1


@pytest.mark.usefixtures("timm")  # it is skipped without
def test_fx_takes_each_part_as_one_step():
    """In a process of its own, because fx cannot trace through checks of shapes."""
    script = f"""
import torch
try:
    import timm
except RuntimeError:  # torchvision was built for another torch
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm
import crate_transformer.integrations.timm
from timm.models import get_notrace_functions, get_notrace_modules
model = timm.create_model("{MICRO}", depth=2).eval()
tracer = torch.fx.Tracer(autowrap_functions=tuple(get_notrace_functions()))
tracer.is_leaf_module = lambda module, name: isinstance(module, tuple(get_notrace_modules()))
traced, images = torch.fx.GraphModule(model, tracer.trace(model)), torch.randn(2, 3, 16, 32)
assert torch.equal(traced(images), model(images))
print(*(node.target for node in traced.graph.nodes if node.op == "call_module"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["patch_embed", "blocks.0", "blocks.1", "norm", "head_drop", "head"], done.stderr


def test_a_model_of_timm_teaches(timm):
    name = "crate_mini_patch8_64.tiny_imagenet_100"
    classes = load_checkpoint(name).class_names[5:9]
    theirs, ours = (load_teacher(teacher, classes) for teacher in (f"timm:{name}", name))
    pixels = torch.rand(2, 3, 64, 64)
    assert (
        theirs.columns == ours.columns == (5, 6, 7, 8) and theirs.preprocessing.img_size == ours.preprocessing.img_size
    )
    torch.testing.assert_close(theirs(pixels), ours(pixels))
    with pytest.raises(ValueError, match="timm cannot create the teacher timm:nothing_at_all: Unknown model"):
        load_teacher("timm:nothing_at_all", classes)
