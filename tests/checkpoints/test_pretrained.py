"""Models by name, bundled weights, and the hub."""

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from crate_transformer.checkpoints import create_model, list_pretrained, load_checkpoint, pretrained, save_checkpoint
from crate_transformer.models import build_model

TAGGED = "crate_micro_patch4_32.digits"


@pytest.fixture
def boxed(tmp_path, monkeypatch):
    """Bundled weights: one set of weights."""
    model = build_model("crate_micro_patch4_32", num_classes=10).eval()
    model.class_names = tuple("0123456789")
    save_checkpoint(model, tmp_path / TAGGED, metadata={"accuracy": 0.9})
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    return model


def test_fresh_models():
    model = create_model("CRATE_tiny", depth=1, num_classes=3)
    assert (len(model.blocks), model.num_classes, model.embed_dim) == (1, 3, 384)
    assert str(model.provenance) == "CRATE from crate_tiny_patch16_224 (fresh initialisation)"


@pytest.mark.parametrize("name", [TAGGED, "crate_micro_patch4_32"])
def test_pretrained(boxed, name):
    assert list_pretrained() == [TAGGED]
    images = torch.randn(2, 3, 32, 32)
    for model in (create_model(name, pretrained=True), load_checkpoint(name)):
        assert not model.training
        assert model.class_names == boxed.class_names
        assert model.provenance.metadata == {"accuracy": 0.9}
        with torch.no_grad():
            torch.testing.assert_close(model(images), boxed(images))
        assert model.provenance.source == f"the bundled weights: {TAGGED}"
    assert create_model(name, num_classes=4).num_classes == 4


def test_a_tag_brings_the_configuration_of_its_weights(boxed):
    fresh = create_model(TAGGED)
    assert fresh.config == boxed.config and fresh.num_classes == 10
    assert not torch.equal(fresh.pos_embed, boxed.pos_embed)
    assert create_model(TAGGED, depth=1).config.depth == 1
    assert create_model("crate_micro_patch4_32").config == build_model("crate_micro_patch4_32").config


@pytest.mark.parametrize("name", list_pretrained())
def test_bundled_weights_are_described_in_a_few_words(name):
    model = load_checkpoint(name)
    assert isinstance(model.provenance.metadata["attention"], dict)
    told = str(model.provenance)
    assert told.startswith(f"CRATE from the bundled weights: {name} (") and "attention (not shown)" in told
    assert len(told) < 400


def test_other_classes_mean_a_fresh_head(boxed):
    model = create_model(TAGGED, pretrained=True, num_classes=4)
    assert model.head.weight.shape == (4, 128)
    assert model.class_names is None
    assert torch.equal(model.blocks[0].ista.dictionary, boxed.blocks[0].ista.dictionary)
    assert set(model.provenance.dropped) == {"head.weight", "head.bias"}
    assert "the head is new" in str(model.provenance)
    assert create_model(TAGGED, pretrained=True, num_classes=0)(torch.randn(1, 3, 32, 32)).shape == (1, 128)


def test_another_image_size_means_resampled_positions(boxed):
    model = create_model(TAGGED, pretrained=True, img_size=(48, 32)).eval()
    assert model.preprocessing.img_size == (48, 32)
    assert model.class_names == boxed.class_names
    images = torch.randn(1, 3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), boxed(images), rtol=1e-4, atol=1e-5)


def test_another_pooling(boxed):
    assert create_model(TAGGED, pretrained=True, global_pool="avg").config.global_pool == "avg"


def test_options_that_the_weights_do_not_have(boxed):
    with pytest.raises(ValueError, match="depth=3 does not match the weights"):
        create_model(TAGGED, pretrained=True, depth=3)
    with pytest.raises(ValueError, match="has no option 'heads'"):
        create_model("crate_micro_patch4_32", heads=3)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("crate_tiny_patch16_224", True),
        ("crate_micro_patch4_32.imagenet", True),
        ("crate_micro_patch4_32.imagenet", False),
    ],
)
def test_weights_that_do_not_exist(boxed, name, wanted):
    with pytest.raises(
        ValueError, match=f"there are no bundled weights '{name}'; available: {TAGGED}. Use load_checkpoint"
    ):
        create_model(name, pretrained=wanted)


def test_no_bundled_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    with pytest.raises(ValueError, match="there are no bundled weights"):
        create_model("crate_micro_patch4_32", pretrained=True)


def test_the_hub(boxed, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, allow_patterns: asked.append(name) or tmp_path / TAGGED
    )
    assert load_checkpoint("someone/some-crate").config == boxed.config
    assert asked == ["someone/some-crate"]


def test_the_hub_out_of_reach(monkeypatch):
    def offline(*args, **kwargs):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        FileNotFoundError, match=r"someone/some-crate is not a local path and could not be downloaded .* network$"
    ):
        load_checkpoint("someone/some-crate")


def test_a_mistyped_path_does_not_ask_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/quickstrat", str(tmp_path / "missing.pth"), "missing", "missing/", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="is not a file, folder, bundled model or hub id"):
            load_checkpoint(path)
