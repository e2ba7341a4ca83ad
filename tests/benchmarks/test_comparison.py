"""The comparison of the families, rehearsed with two steps: it goes on where it was, and its page has every number."""

import importlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.layers import ISTA

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
MODELS = ("crate_tiny_patch16_224", "tost_tiny_patch16_224")


@pytest.fixture
def run(monkeypatch):
    """A script of the folder, run in this process."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")

    return run


@pytest.fixture
def data(tmp_path):
    """Two classes to learn, and images with masks: bright squares."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for label, kind in enumerate(("dark", "light")):
            folder = tmp_path / "data/tiny_imagenet_100" / part / kind
            folder.mkdir(parents=True)
            for i in range(6):
                noise = random.normal((60, 200)[label], 20, (64, 64, 3)).clip(0, 255)
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{i}.png")
    for part in ("images", "masks"):
        (tmp_path / "data/pets/open" / part).mkdir(parents=True)
    for i in range(8):
        picture = random.integers(0, 100, (64, 64, 3), dtype=np.uint8)
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[16 + i : 40 + i, 12:44] = 255
        picture[mask > 0] += 100
        Image.fromarray(picture).save(tmp_path / f"data/pets/open/images/{i}.png")
        Image.fromarray(mask).save(tmp_path / f"data/pets/open/masks/{i}.png")
    return tmp_path / "data"


def test_dictionaries_are_bounded_on_request(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    comparison, layer = importlib.import_module("comparison"), ISTA(12)
    for bounded in (True, False):
        with torch.no_grad():
            layer.dictionary.mul_(9)
        with comparison.bounded_dictionaries(bounded):
            layer(torch.zeros(1, 12))
        condition = layer.step_size * float(torch.linalg.matrix_norm(layer.dictionary.detach(), 2)) ** 2
        assert condition == pytest.approx(1 if bounded else 81, rel=1e-5)


@pytest.mark.usefixtures("two_untrained")
def test_runs_and_page(run, data, tmp_path, capsys):
    options = ["--models", *MODELS, "--parameters", 30_000, "--steps", 2, "--seeds", 0]
    run("comparison.py", data, tmp_path / "runs", *options)
    files = {file.name: file.read_bytes() for file in (tmp_path / "runs").glob("*.json")}
    found = {name: json.loads(content) for name, content in files.items()}
    crate, tost = (found[f"{name}-parameters-seed0.json"] for name in MODELS)
    assert abs(crate["parameters"] / 30_000 - 1) < 0.3 and crate["steps"] == tost["steps"] == 2
    assert crate["emergence"]["pets/open"]["auc"]["rows"].keys() >= {"model", "untrained", "mean_mask_prior"}
    assert tost["emergence"]["pets/open"]["refused"].startswith("ToST has no softmax attention")
    assert len(crate["layers"]["trained"]["sparse"]["lowered"]) == 6 and tost["layers"]["trained"]["sparse"] is None
    run("comparison.py", data, tmp_path / "runs", *options)
    assert files == {file.name: file.read_bytes() for file in (tmp_path / "runs").glob("*.json")}
    with pytest.raises(ValueError, match=r"seed0.json is of a run with other settings: choose another output folder"):
        run("comparison.py", data, tmp_path / "runs", *options, "--steps", 3)
    times = json.loads((tmp_path / "runs/times.json").read_text())["seconds"]
    assert list(times) == list(MODELS) and min(times.values()) > 0
    run("comparison.py", data, tmp_path / "runs", *options, "--models", "vit_tiny_patch16_224")
    more = json.loads((tmp_path / "runs/times.json").read_text())["seconds"]
    assert more.keys() == {*times, "vit_tiny_patch16_224"} and more.items() >= times.items()  # what was there is kept
    run("comparison_page.py", tmp_path / "runs", tmp_path / "comparison.md")
    page = (tmp_path / "comparison.md").read_text()
    assert f"| {crate['parameters']:,} | {crate['gflop']:.3f} | 2 |" in page and "arxiv.org/abs/2412.17810" in page
    assert "### pets/open" in page and "tiny | 6.09 M | 66.7" in page and "{" not in page
    assert (
        "bound, untrained" in page and f"trained in {crate['precision']}, torch" in page and "less than 5% from" in page
    )
    run("comparison.py", data, tmp_path / "variants", *options, "--models", "crate_negative")
    run("claims.py", data, tmp_path / "runs", tmp_path / "variants", "--output", tmp_path / "claims.json")
    claims = json.loads((tmp_path / "claims.json").read_text())
    assert {name.partition("-")[0] for name in claims} == {*MODELS, "vit_tiny_patch16_224", "crate_negative"}
    assert len(claims["crate_negative-parameters-seed0"]["steps"]["trained"]["condition"]) == 6
    printed = capsys.readouterr().out
    assert "| `crate_negative` |" in printed and "| AUC, pets/open, untrained |" in printed
