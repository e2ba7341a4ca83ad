import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from crate_transformer.data import normalise, pixels, preprocess, read_image, resize_crop
from crate_transformer.models import Preprocessing

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "crop_pct": 1.0}


def test_golden_preprocessing_is_exact(shared):
    compared = 0
    for entry in json.loads((shared / "golden/index.json").read_text())["entries"]:
        if entry["family"] != "preprocess":
            continue
        image = read_image(shared / "golden" / entry["files"]["image"])
        if hashlib.sha256(image.tobytes()).hexdigest() != entry["config"]["decoded_sha256"]:
            continue  # another JPEG decoder
        expected = load_file(shared / "golden" / entry["files"]["tensors"])
        compared += 1
        got = pixels(resize_crop(image, (224, 224), crop_pct=0.875)).permute(1, 2, 0)
        assert torch.equal(got, expected["resize256_crop224_uint8"]), entry["name"]
        statistics = entry["statistics"]["resize256_crop224"]
        tensor = preprocess(image, Preprocessing())
        assert torch.allclose(tensor.mean((1, 2)), torch.tensor(statistics["mean"]), atol=1e-5)
        assert torch.allclose(tensor.std((1, 2)), torch.tensor(statistics["std"]), atol=1e-4)
        if "resize256_crop224" in expected:
            assert (tensor - expected["resize256_crop224"].float()).abs().max() < 1e-3
        full = preprocess(image, Preprocessing(crop_pct=1.0))
        statistics = entry["statistics"]["resize224_crop224"]
        assert torch.allclose(full.mean((1, 2)), torch.tensor(statistics["mean"]), atol=1e-5)
    assert compared >= 3


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (64, 16), (7, 5)])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (33, 33), (3, 90), (1, 1), (2000, 3)])
def test_every_shape_is_covered(size, shape):
    image = Image.new("RGB", shape, (10, 20, 30))
    fitted = resize_crop(image, size, crop_pct=0.875)
    assert fitted.size == size[::-1]
    assert fitted.getcolors() == [(size[0] * size[1], (10, 20, 30))], "no border"


def test_non_square_output_keeps_the_aspect():
    circle = np.hypot(*np.mgrid[-99.5:100, -149.5:150]) < 60
    picture = Image.fromarray(np.stack([circle * 255] * 3, axis=2).astype(np.uint8))
    fitted = np.asarray(resize_crop(picture, (50, 100)))[..., 0] > 127
    assert abs(fitted.any(0).sum() - fitted.any(1).sum()) <= 1
    assert fitted.any(0).sum() == pytest.approx(120 / 3, abs=1)


def test_absurdly_long_pictures_cost_no_memory():
    assert resize_crop(Image.new("L", (60_000, 1)).convert("RGB"), (224, 224)).size == (224, 224)


def test_normalise_channel_by_channel():
    image = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    statistics = Preprocessing()
    for channel in range(3):
        expected = (image[channel] / 255 - statistics.mean[channel]) / statistics.std[channel]
        assert torch.equal(normalise(image, statistics)[channel], expected)
    assert image[0, 0, 1] == 1
