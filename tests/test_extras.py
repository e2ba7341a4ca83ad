"""Every extra, installed into a fresh environment as a user does, runs an example."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = """
from pathlib import Path
from crate_transformer.data.photographs import photograph
for name in ("cat", "coffee"):
    for number in range(4):
        file = Path("pictures", name, f"{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        photograph(name).crop((9 * number, 0, 9 * number + 200, 200)).save(file)
"""
CRATE = "import sys; from crate_transformer.cli import main; sys.exit(main(sys.argv[1:]))"
TRAIN = ("train", "--model", "crate_micro_patch4_32", "--img-size", "8", "--steps", "4", "--log-every", "2")
HF = """
import crate_transformer as ct
import crate_transformer.integrations.transformers as crate_hf
import transformers

crate_hf.to_transformers(ct.create_model("crate_mini_patch8_64", pretrained=True)).save_pretrained("hf")
assert len(transformers.pipeline("image-classification", model="hf", device="cpu")("pictures/cat/0.png")) == 5
"""
TIMM = """
import crate_transformer.integrations.timm
import timm, torch
from PIL import Image

model = timm.create_model("crate_mini_patch8_64", pretrained=True, features_only=True, out_indices=(-1,)).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
assert model(transform(Image.open("pictures/cat/0.png"))[None])[0].isfinite().all()
"""
EXPLORE = """
import http.client, signal, subprocess, sys

command = [sys.executable, "-m", "crate_transformer", "explore", "--port", "0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    try:
        connection = http.client.HTTPConnection(server.stdout.readline().split("/")[2], timeout=60)
        connection.request("GET", "/")
        assert "Drop pictures here" in connection.getresponse().read().decode()
    finally:
        server.send_signal(signal.SIGINT)
"""
DATASETS = """
import datasets
from pathlib import Path

files = sorted(Path("pictures").rglob("*.png"))
pictures = [{"bytes": file.read_bytes(), "path": None} for file in files]
rows = {"image": pictures, "label": [int(file.parent.name == "cat") for file in files]}
kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["coffee", "cat"])})
datasets.Dataset.from_dict(rows, kinds).save_to_disk("rows")
"""
EXAMPLES = {
    "hf": [(HF,)],
    "timm": [(TIMM,)],
    "onnx": [(CRATE, "export", "mini.onnx")],
    "explore": [(EXPLORE,)],
    "train": [
        (DATASETS,),
        (CRATE, *TRAIN, "--data", "rows", "--output", "first", "--tracker", "tensorboard"),
        (CRATE, *TRAIN, "--data", "pictures", "--output", "second", "--tracker", "wandb"),
    ],
}
EXAMPLES["all"] = [line for lines in EXAMPLES.values() for line in lines]
"""Lines of Python, each with its arguments, that must run in a folder where ``pictures`` holds two classes."""


def test_every_extra_has_an_example():
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXAMPLES.keys() == extras.keys() - {"dev", "docs"}, "those run in the tests themselves"


@pytest.fixture
def environment(tmp_path):
    """The Python of a fresh environment, which is removed afterwards, since it takes more than a gigabyte."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    yield folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXAMPLES)
def test_an_extra_as_a_user_gets_it(extra, environment, tmp_path):
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}

    def run(*arguments):
        command = [environment, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=tmp_path, env=variables)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"

    run("-m", "pip", "install", "--quiet", f"{ROOT}[{extra}]")
    run("-m", "pip", "check")
    for example in ((PICTURES,), *EXAMPLES[extra]):
        run("-c", *example)
