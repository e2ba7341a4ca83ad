"""What is written in an official format is read as the same model, or it is not written."""

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_official
from crate_transformer.checkpoints.loading import OFFICIAL_FORMATS
from crate_transformer.layers import OutputMap
from crate_transformer.models import LANGUAGE_MODELS, MODELS, build_model

WRITTEN = {form.restore[0] for form in OFFICIAL_FORMATS if form.restore} - {
    kind for kind, _ in LANGUAGE_MODELS.values()
}
NAMES = {kind.__name__: name for name, (kind, _) in reversed(MODELS.items()) if kind in WRITTEN}
TOY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 4, "num_heads": 3}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def toy(family, **changes):
    classes = {} if family == "CRATEMAE" else {"num_classes": 5}
    model = build_model(NAMES[family], **{**TOY, "recurrences": 1, **classes, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def read_again(model, file, *, without=()):
    """The file of this model, read with all its options but these."""
    save_official(model, file)
    return load_checkpoint(file, **{name: value for name, value in vars(model.config).items() if name not in without})


@torch.no_grad()
def check_same(model, loaded):
    assert torch.equal(loaded(IMAGES), model(IMAGES))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("output", OutputMap.__args__)
@pytest.mark.parametrize("family", ["CRATE", "RecurrentCRATE", "CRATEMAE"])
def test_every_output_map(family, output, heads, tmp_path):
    model, file = toy(family, output=output, num_heads=heads), tmp_path / "written.pth"
    meant = model.blocks[0].mssa.output
    readable = {
        "CRATE": meant == ("identity" if heads == 1 else "free"),
        "RecurrentCRATE": meant in ("free", "transposed"),
        "CRATEMAE": meant == "free" and heads > 1,
    }
    if readable[family]:
        check_same(model, read_again(model, file, without=["output"]))
        assert read_again(model, file).config == model.config
        return
    with pytest.raises(ValueError, match=f"the format 'official .*' cannot store this {family}: "):
        save_official(model, file)
    assert not file.exists()


@pytest.mark.parametrize("family", NAMES)
def test_recurrences(family, tmp_path):
    for depth in (4, 5):
        model, file = toy(family, recurrences=2, depth=depth), tmp_path / f"{depth}.pth"
        if family in ("HyperSET", "RecurrentCRATE") and depth == 4:
            check_same(model, read_again(model, file))
            continue
        with pytest.raises(
            ValueError, match=rf"cannot store this {family}: (depth=. contradicts|tensor .* is (missing|unknown))"
        ):
            save_official(model, file)
        assert not file.exists()


@pytest.mark.parametrize("family", ["CRATE", "CRATEAlpha", "RecurrentCRATE", "CRATEMAE"])
def test_the_width_of_heads_is_inferred(family, tmp_path):
    model = toy(family, head_dim=8)
    loaded = read_again(model, tmp_path / "written.pth", without=["head_dim"])
    assert loaded.config == model.config
    check_same(model, loaded)


@pytest.mark.parametrize("num_atoms", [None, 12, 16])
def test_atoms_as_many_as_dimensions(num_atoms, tmp_path):
    model = toy("HyperSET", num_atoms=num_atoms)
    assert read_again(model, tmp_path / "written.pth").config == model.config


def test_without_classes_there_is_no_official_file(tmp_path):
    with pytest.raises(ValueError, match=r"cannot store this CRATE: tensor 'mlp_head.1.weight' is missing"):
        save_official(toy("CRATE", num_classes=0), tmp_path / "written.pth")
