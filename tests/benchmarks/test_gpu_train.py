"""The scripts that train on a lent GPU, rehearsed on the CPU: pack, train for seconds, unpack."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
NOT_ON_THE_GPU_MACHINE = ("tyro", "lion_pytorch")

pytestmark = pytest.mark.slow


def run(script: str, *arguments: object) -> str:
    """Run a script as the GPU machine would, without the packages it lacks where it is to run there."""
    absent = NOT_ON_THE_GPU_MACHINE if script == "gpu_train.py" else ()
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({absent})); sys.path.insert(0, {str(SCRIPTS)!r}); "
    code += f"sys.argv[0] = {script!r}; runpy.run_path({str(SCRIPTS / script)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def photograph(seed: int, label: int, side: tuple[int, int] = (64, 64)) -> Image.Image:
    """Noise around a colour of the class."""
    noise = np.random.default_rng(seed).normal(0, 20, (*side, 3))
    return Image.fromarray((noise + (60, 200)[label]).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 64 px in the layout of Tiny-ImageNet, two of any shape in that of Caltech."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 20), ("val", 10)):
        for label, name in enumerate(("dark", "light")):
            folder = root / "tiny_imagenet_100" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                photograph(100 * label + i, label).save(folder / f"{i:02}.webp", quality=90)
    (root / "caltech88").mkdir()
    with zipfile.ZipFile(root / "caltech88/train.zip", "w") as archive:
        for label, name in enumerate(("night", "snow")):
            for i in range(5):
                with archive.open(f"train/{name}/{i}.webp", "w") as stream:
                    photograph(i, label, (128, 150 + 20 * i)).save(stream, "webp")
    return root


def test_every_model_of_a_plan_comes_back_and_is_as_accurate_here(data: Path, tmp_path: Path) -> None:
    run("prepare_gpu_data.py", data, tmp_path / "pack.npz")
    plan = "crate_mini:1,vit_mini:1,tost_mini:1,crate_alpha_mini:1"
    options = ("--seconds", 24, "--plan", plan, "--batch", 0.01, "--processes", 1)
    said = run("gpu_train.py", tmp_path / "pack.npz", tmp_path / "out", *options)
    assert "failed" not in said
    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem for file in files] == sorted(part.split(":")[0] for part in plan.split(","))
    run("gpu_unpack.py", data / "tiny_imagenet_100", tmp_path / "unpacked", *files)
    for file in files:
        config = json.loads((tmp_path / "unpacked" / file.stem / "config.json").read_text())
        assert config["class_names"] == ["dark", "light"]
        assert config["preprocessing"]["img_size"] == [128, 128]
        about = config["metadata"]
        assert about["training"]["finished"]
        assert about["held_out_part"]["count"] == about["training"]["held_out_images"] == 4
        assert about["held_out_part"]["top1"] == about["training"]["top1"]


def test_an_unknown_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("gpu_train.py", tmp_path / "pack.npz", tmp_path, "--plan", "crate_huge:1")
    assert "no run is called crate_huge" in caught.value.stderr
