"""``crate check-data``: what is planted is found, by one process or several, and the exit code tells."""

import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def data(tmp_path):
    """Two parts of two classes with four pictures each, all different and whole."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(0, 256, (10 + number, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / part / kind / f"{number}.png")
    return tmp_path / "data"


def plant(data):
    train = data / "train"
    (train / "cat" / "empty.jpg").touch()
    (train / "cat" / "broken.jpg").write_bytes((train / "cat" / "0.png").read_bytes()[:60])
    Image.open(train / "cat" / "1.png").save(train / "cat" / "same.bmp")
    Image.open(train / "dog" / "1.png").save(train / "cat" / "other.tif")
    shutil.copy(train / "dog" / "2.png", data / "val" / "cat" / "leaked.png")
    Image.open(train / "dog" / "3.png").convert("L").save(train / "dog" / "grey.jpg")


def test_a_clean_set(crate, data):
    ran = crate("check-data", data)
    assert ran.code == 0 and "clean: all images can be read, none is in two parts" in ran.out
    assert "train and val of" in ran.out and "10 to 13, median 12" in ran.out and "PNG 8" in ran.out


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_planted_is_found(crate, data, tmp_path, workers):
    plant(data)
    ran = crate("check-data", data, "--workers", workers, "--output", tmp_path / "check.json")
    assert ran.code == 1 and "not clean" in ran.out
    found = json.loads((tmp_path / "check.json").read_text())
    train = found["parts"]["training"]
    assert train["empty"] == ["train/cat/empty.jpg"] and list(train["broken"]) == ["train/cat/broken.jpg"]
    assert train["duplicates"] == [
        ["train/cat/1.png", "train/cat/same.bmp"],
        ["train/cat/other.tif", "train/dog/1.png"],
    ]
    assert train["contradictions"] == [["train/cat/other.tif", "train/dog/1.png"]]
    assert found["leaks"] == [["training: train/dog/2.png", "held out: val/cat/leaked.png"]]
    assert train["classes"] == {"cat": 8, "dog": 5} and train["images"] == 13 and not found["is_clean"]
    assert train["formats"] == {"PNG": 8, "BMP": 1, "TIFF": 1, "JPEG": 1}
    assert train["colour_modes"] == {"RGB": 10, "L": 1}
    assert (train["widths"], train["heights"]) == ([20, 20, 20], [10, 11, 13])
    assert found["images_per_second"] > 0
    for line in (
        "training, empty: train/cat/empty.jpg",
        "leak, the same pixels in both parts: training: train/dog/2.png = held out: val/cat/leaked.png",
    ):
        assert line in ran.out.splitlines()


def test_zip_and_tar_files_give_the_same(crate, data, tmp_path):
    plant(data)
    with tarfile.open(tmp_path / "data.tar", "w") as tar, zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
        tar.add(data, "data")
        for file in sorted(data.rglob("*.*")):
            packed.write(file, file.relative_to(tmp_path))
    found = []
    for path in (tmp_path / "data.tar", tmp_path / "data.zip"):
        assert crate("check-data", path, "--output", tmp_path / "check.json", "--overwrite").code == 1
        found.append(json.loads((tmp_path / "check.json").read_text()))
        for part in found[-1]["parts"].values():
            del part["where"]
            part["duplicates"] = sorted(map(sorted, part["duplicates"]))
            part["contradictions"] = sorted(map(sorted, part["contradictions"]))
            part["empty"], part["broken"] = sorted(part["empty"]), sorted(part["broken"])
        del found[-1]["checked"], found[-1]["images_per_second"]
    assert found[0] == found[1] and found[0]["parts"]["training"]["empty"] == ["data/train/cat/empty.jpg"]


def test_a_set_that_is_not_divided(crate, data):
    ran = crate("check-data", data / "train")
    assert ran.code == 0 and "no training and held-out parts" in ran.out


def test_many_names_are_counted(crate, data):
    for number in range(9):
        (data / "train" / "cat" / f"empty{number}.png").touch()
    ran = crate("check-data", data)
    assert ran.code == 1 and "training, empty: 4 more" in ran.out
    for file in data.rglob("*.png"):
        file.write_bytes(b"no picture")
    assert crate("check-data", data).code == 1


def test_bad_input(refused, data, tmp_path):
    assert refused("check-data", tmp_path / "absent").endswith("absent does not exist")
    assert "--workers is -1" in refused("check-data", data, "--workers", "-1")
    (tmp_path / "other.json").write_text("{}")
    assert "was made from something else" in refused("check-data", data, "--output", tmp_path / "other.json")
    shutil.rmtree(data / "val" / "dog")
    assert "single class 'cat'" in refused("check-data", data)
