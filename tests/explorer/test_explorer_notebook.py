"""``ct.explore``: pictures of every kind become a page that a notebook shows and that is saved whole."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import crate_transformer as ct
from crate_transformer.explorer.tokens import expected_bytes
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 4}


@pytest.fixture
def model():
    return build_model("crate_tiny_patch16_224", **TINY).eval()


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.decode(), re.DOTALL)[1])


def test_pictures_of_every_kind(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    (tmp_path / "folder").mkdir()
    Image.fromarray(pixels).save(tmp_path / "folder" / "two.png")
    given = [tmp_path / "one.png", str(tmp_path / "folder"), Image.fromarray(pixels).convert("L"), pixels]
    data = data_of(ct.explore(model, given).page)
    names = [picture["name"] for picture in data["pictures"]]
    assert names == ["one.png", "folder/two.png", "picture 2", "picture 3"]
    assert {tuple(picture["views"][0]["grid"]) for picture in data["pictures"]} == {(3, 2)}
    assert len(data_of(ct.explore(model, pixels).page)["pictures"]) == 1


def test_a_batch_as_the_model_takes_it(model):
    images = torch.randn(2, 3, 16, 24)
    data = data_of(ct.explore(model, images).page)
    assert [picture["views"][0]["grid"] for picture in data["pictures"]] == [[2, 3], [2, 3]]
    with torch.no_grad():
        shares = model(images).softmax(dim=-1)
    for picture, exact in zip(data["pictures"], shares.numpy(), strict=True):
        (view,), classes = picture["views"], [f"class {index}" for index in np.argsort(-exact)]
        assert [name for name, _ in view["top"]] == classes
        np.testing.assert_allclose([share for _, share in view["top"]], np.sort(exact)[::-1], rtol=1e-5)
        np.testing.assert_allclose(view["effects"]["intact"], np.sort(exact)[::-1], rtol=1e-5)


def test_effects_where_there_are_few_heads_or_when_asked(model):
    images = torch.randn(1, 3, 16, 16)
    assert data_of(ct.explore(model, images).page)["pictures"][0]["views"][0]["effects"]
    assert data_of(ct.explore(model, images, effects=False).page)["pictures"][0]["views"][0]["effects"] is None
    deep = build_model("crate_tiny_patch16_224", **{**TINY, "depth": 33}).eval()
    assert data_of(ct.explore(deep, images).page)["pictures"][0]["views"][0]["effects"] is None


def test_two_models_shown_and_saved(model, tmp_path):
    vit = build_model("vit_tiny_patch16_224", **TINY).eval()
    shown = ct.explore({"ours": model, "theirs": vit}, torch.randn(1, 3, 16, 16))
    assert [one["name"] for one in data_of(shown.page)["models"]] == ["ours", "theirs"]
    assert shown.save(tmp_path / "new" / "page.html").read_bytes() == shown.page
    frame = shown._repr_html_()
    assert frame.startswith("<iframe ") and 'sandbox="allow-scripts allow-downloads"' in frame
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == shown.page.decode()


def test_the_size_is_told_beforehand(model):
    wide = build_model("crate_small_patch16_224", img_size=64, depth=3, num_classes=4).eval()
    pictures = [Image.new("RGB", (96, 64)), Image.new("RGB", (64, 64))]
    for bits in (8, 16):
        page = ct.explore(wide, pictures, size=64, bits=bits, effects=False).page
        bare = len(ct.explore(wide, pictures[:1], size=16, bits=bits, effects=False).page)  # script and style, mostly
        assert expected_bytes(wide, pictures, 64, bits) == pytest.approx(len(page) - bare, rel=0.2)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_one_sentence(model, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        ct.explore(model, tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="no pictures to show"):
        ct.explore(model, [])
    for given, told in ((np.zeros((8, 8, 3)), "an array of float64"), (torch.zeros(3, 8, 8), "a Tensor")):
        with pytest.raises(ValueError, match=f"picture 1 is {told}: give paths, PIL images, uint8 arrays"):
            ct.explore(model, [Image.new("RGB", (8, 8)), given])
    with pytest.raises(ValueError, match="there are 3 models"):
        ct.explore(dict.fromkeys("abc", model), torch.randn(1, 3, 16, 16))
    other = build_model("crate_tiny_patch16_224", **TINY).eval()
    other.preprocessing = replace(other.preprocessing, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="normalise their images differently: give pictures"):
        ct.explore({"a": model, "b": other}, torch.randn(1, 3, 16, 16))
