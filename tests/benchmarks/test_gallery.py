"""``make gallery``: a picture for each set, by a rule that chooses neither pictures nor heads by eye."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.models import build_model
from crate_transformer.reports.gallery import largest_part

SCRIPT = Path(__file__).parents[2] / "benchmarks/gallery.py"


@pytest.fixture
def data(tmp_path):
    """Twelve grey pictures of a white block each, as animals with masks and as birds of four species."""
    generator, records = np.random.default_rng(0), {}
    for number in range(36):
        x, y = (int(place) for place in generator.integers(0, 20, 2))
        mask = np.zeros((40, 48), dtype=np.uint8)
        mask[y : y + 14, x : x + 14] = 255
        for folder, content in (
            ("horses/open/images", np.maximum(mask, 60)[..., None].repeat(3, axis=2)),
            ("horses/open/masks", mask),
            ("cub_parts/open/images", np.maximum(mask, 60)[..., None].repeat(3, axis=2)),
        ):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(tmp_path / folder / f"{number:02}.png")
        records[f"{number:02}"] = {
            "width": 48, "height": 40, "class": str(number % 4), "boxes": {"bird": [4, 0, 44, 40]},
            "points": {part: [x + step, y + step] for part, step in (("beak", 5), ("tail", 9), ("back", 12))},
        }  # fmt: skip
    (tmp_path / "cub_parts/open/index.json").write_text(json.dumps(records))
    return tmp_path


def test_every_set_has_its_pictures(data, tmp_path, monkeypatch, undrawn):
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 2}
    save_checkpoint(build_model("crate_tiny_patch16_224", **options), tmp_path / "weights")
    out = tmp_path / "gallery"
    arguments = [str(data), str(out), "--checkpoint", str(tmp_path / "weights"), "--side", "32"]
    monkeypatch.setattr(sys, "argv", ["gallery.py", *arguments, "--sets", "horses", "cub_parts"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert sorted(file.name for file in out.iterdir()) == ["horses.png", "horses_heads.png", "parts_birds.png"]


def test_maps_over_shifts_are_where_the_plain_map_is():
    script = runpy.run_path(str(SCRIPT))
    model = build_model("crate_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=1)
    seen = []

    def maps(_, inputs, layers):
        seen.append(inputs)
        grid = inputs[:, 0].reshape(len(inputs), 4, 8, 4, 8).amax(dim=(2, 4)).numpy()  # the brightest pixel of a patch
        return type("Maps", (), {"maps": grid[:, None, None]})

    script["steady_maps"].__globals__["attention_maps"] = maps
    pixels = np.zeros((1, 3, 40, 40), dtype=np.uint8)
    pixels[..., 17, 9] = 255  # in the middle 32 pixels: row 13, column 5
    (found,) = script["steady_maps"](model, torch.from_numpy(pixels), 0, 32)
    assert len(seen) == 18
    row, column = np.unravel_index(found[0].argmax(), found[0].shape)
    assert abs(row - 13) <= 4 and abs(column - 5) <= 4


def test_the_largest_part_of_a_map_has_the_size_asked_for():
    heat = np.random.default_rng(0).random((8, 8))
    mask = largest_part(heat, 0.3, (64, 64))
    assert mask.mean() == pytest.approx(0.3, abs=0.01)
    assert mask[8 * (heat.argmax() // 8) + 4, 8 * (heat.argmax() % 8) + 4]
