"""Segmenters: published sizes of the decoder, every family as backbone, and what a model of this package can do."""

import json

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.integrations.export import check_export, export_program, program_content
from crate_transformer.models import (
    DEPICT,
    MODELS,
    BackboneConfig,
    DEPICTConfig,
    Segmenter,
    SegmenterConfig,
    backbone_of,
    build_model,
)

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 4}
FAMILIES = sorted({model_class: name for name, (model_class, _) in MODELS.items()}.values())
IMAGES = torch.randn(2, 3, 21, 30, generator=torch.Generator().manual_seed(0))


def segmenter(name="crate_micro_patch4_32", **decoder):
    """A tiny one, away from its initial values."""
    backbone = build_model(name, **TINY)
    settings = {"depth": 2, "num_heads": 2, "head_dim": 5, "cross_depth": 1, "cross_head_dim": 4, **decoder}
    config = SegmenterConfig(backbone=backbone.config, decoder=DEPICTConfig(num_classes=3, **settings))
    model = Segmenter(config, backbone).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(
    ("attention", "counts"),
    [("self", (203_439, 406_575, 812_847, 1_083_695)), ("cross", (291_378, 582_450, 1_164_594, 1_552_690))],
)
def test_decoders_have_the_published_sizes(attention, counts):
    config = DEPICTConfig(num_classes=150, attention=attention)
    with torch.device("meta"):
        decoders = [DEPICT(dim, config) for dim in (192, 384, 768, 1024)]
    assert tuple(sum(p.numel() for p in decoder.parameters()) for decoder in decoders) == counts


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_segments_images_of_any_size_and_learns(name):
    model = segmenter(name)
    logits = model(IMAGES)
    assert logits.shape == (2, 3, 21, 30) and model.config.backbone.num_classes == 0
    logits.square().mean().backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is None) == key.startswith(model.not_in_logits), key


def test_padding_is_right_and_below_and_zero():
    model = segmenter()
    padded = torch.zeros(2, 3, 24, 32)
    padded[..., :21, :30] = IMAGES
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), model(padded)[..., :21, :30], rtol=0, atol=0)


@pytest.mark.parametrize("attention", ["self", "cross"])
@torch.no_grad()
def test_saved_loaded_and_folded(attention, tmp_path):
    model = segmenter(attention=attention)
    model.class_names = ("background", "cat", "dog")
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    assert torch.equal(loaded(IMAGES), model(IMAGES)) and loaded.config == model.config
    load_checkpoint(tmp_path / "saved", num_classes=3)
    with pytest.raises(ValueError, match="num_classes=4 contradicts"):
        load_checkpoint(tmp_path / "saved", num_classes=4)
    assert loaded.class_names == model.class_names and loaded.provenance.family == "Segmenter"
    torch.testing.assert_close(loaded.fold()(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    assert backbone_of(model, "it") is model.backbone
    backbone = backbone_of(loaded, "it")
    assert backbone is loaded.backbone and backbone.provenance is loaded.provenance


@pytest.mark.usefixtures("unchecked")
def test_a_program_takes_images_of_any_size():
    model = segmenter(attention="cross", depth=1)
    assert check_export(program_content(export_program(model)), model) < 1e-4


def test_wrong_decoders():
    for name, value in {"num_classes": 1, "depth": 0, "num_heads": 0}.items():
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            DEPICTConfig(**{"num_classes": 3, name: value})


@pytest.mark.parametrize(
    ("part", "name", "value", "sentence"),
    [
        ("decoder", "attention", "none", "decoder.*attention|attention is 'none'"),
        ("decoder", "of_a_newer_version", 1, "'of_a_newer_version' is not an option of this model"),
        ("decoder", "depth", 10**9, "depth is 1000000000, but there are only"),
        ("decoder", "cross_depth", 10**9, "cross_depth is 1000000000, but there are only"),
        ("config", "depth", 10**9, "depth is 1000000000, but there are only"),
    ],
)
def test_a_damaged_description_is_refused(part, name, value, sentence, tmp_path):
    folder = save_checkpoint(segmenter(), tmp_path / "saved")
    description = json.loads((folder / "config.json").read_text())
    description[part][name] = value
    (folder / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(folder)


def test_a_backbone_of_no_known_family_is_refused():
    config = SegmenterConfig(
        backbone=BackboneConfig(embed_dim=8, depth=1, num_heads=2), decoder=DEPICTConfig(num_classes=3)
    )
    with pytest.raises(ValueError, match="no family has the configuration BackboneConfig"):
        Segmenter(config)
