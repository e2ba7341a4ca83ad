"""Data sets of Hugging Face's ``datasets``, against the library itself; ``make test-datasets`` installs it apart."""

import io
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import BrokenImageError, open_evaluation, open_images, open_split

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    try:
        import datasets
    except ImportError:
        datasets = None

needs_datasets = pytest.mark.skipif(datasets is None, reason="datasets is not installed: make test-datasets")


def encoded(value: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(value).integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def make(start: int, count: int, **columns):
    """Rows of a picture and a label, the second of which is unknown."""
    labels = [value % 3 for value in range(count)]
    labels[1] = -1
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "fox"])}
    rows = {"image": [{"bytes": encoded(start + value), "path": None} for value in range(count)], "label": labels}
    for name, (kind, values) in columns.items():
        kinds[name], rows[name] = kind, values
    return datasets.Dataset.from_dict(rows, datasets.Features(kinds))


@needs_datasets
def test_a_saved_part_is_read_in_any_order(tmp_path):
    make(0, 9).save_to_disk(tmp_path / "set")
    images = open_images(tmp_path / "set")
    assert images.classes == ("cat", "dog", "fox") and images.labels == [0, 2, 0, 1, 2, 0, 1, 2]
    assert [images.read(index).tobytes() for index in (7, 0)] == [
        Image.open(io.BytesIO(encoded(value))).tobytes() for value in (8, 0)
    ]
    some = images.subset([5, 2])
    assert some.part_of == 8
    assert some.keys() == [images.keys()[5], images.keys()[2]] and len(set(images.keys())) == 8
    assert images.fingerprint() != some.fingerprint() and images.name(1) == "row 2"
    assert pickle.loads(pickle.dumps(images)).read(3).tobytes() == images.read(3).tobytes()
    assert images.relabel(("fox", "dog", "cat")).labels[:2] == [2, 0]
    (tmp_path / "set").rename(tmp_path / "moved")
    assert open_images(tmp_path / "moved").keys() == images.keys()
    split = open_split(tmp_path / "moved", val_fraction=0.3)
    assert (len(split.train), len(split.val)) == (5, 3) and split.divided_here


@needs_datasets
def test_saved_parts_are_a_split(tmp_path):
    parts = {"train": make(0, 9), "validation": make(20, 4), "test": make(30, 4)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    split = open_split(tmp_path / "set")
    assert (len(split.train), len(split.val)) == (8, 3) and "test is not used" in split.how
    assert open_evaluation(tmp_path / "set").read(0).tobytes() == split.val.read(0).tobytes()
    assert not set(split.train.keys()) & set(split.val.keys())
    datasets.DatasetDict({"a": parts["train"], "b": parts["test"]}).save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match="has the parts a, b: choose one"):
        open_split(tmp_path / "other")


@needs_datasets
def test_columns_are_found_by_their_types(tmp_path):
    values = datasets.Value("string"), ["x", "y", None, "x", "x", "y"]
    data = make(0, 6, **{"class": values}).remove_columns("label").rename_column("image", "photo")
    data.save_to_disk(tmp_path / "words")
    images = open_images(tmp_path / "words")
    assert images.classes == ("x", "y") and images.labels == [0, 1, 0, 0, 1]
    coarse = datasets.ClassLabel(names=["a", "b"]), [0, 1, 0, 1, 0, 1]
    make(0, 6, coarse=coarse).save_to_disk(tmp_path / "two")
    assert open_images(tmp_path / "two").classes == ("cat", "dog", "fox")
    for name, data, message in (
        ("both", make(0, 6, coarse=coarse).rename_column("label", "fine"), "several columns of labels: fine, coarse"),
        ("none", make(0, 6).remove_columns("label"), "no column of labels in image; rename the one to use to 'label'"),
        ("no_image", make(0, 6).remove_columns("image"), "no column of images in label"),
    ):
        data.save_to_disk(tmp_path / name)
        with pytest.raises(ValueError, match=message):
            open_images(tmp_path / name)


@needs_datasets
def test_broken_missing_and_foreign_files_are_named(tmp_path, monkeypatch):
    outside = tmp_path / "secret.png"
    outside.write_bytes(encoded(1))
    files = [{"bytes": b"no", "path": "a.png"}, None, {"bytes": encoded(0) + bytes(1 << 19), "path": None}]
    files += [{"bytes": encoded(0), "path": None}, {"bytes": None, "path": str(outside)}]
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    data = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0, 1, 0]}, kinds)
    from crate_transformer.data.hub_dataset import _open

    images = _open("set", "train", data)
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    reasons = ["not a JPEG", "has no image in this row", "more than the limit of", None, "was not downloaded with it"]
    for index, reason in enumerate(reasons):
        if reason is None:
            assert images.read(index).size == (11, 9)
            continue
        with pytest.raises(BrokenImageError, match=rf"set/train, row {index} is not a readable image \(.*{reason}"):
            images.read(index)
    assert len(images.keys()) == 5


@needs_datasets
def test_what_cannot_be_loaded_is_one_sentence(tmp_path):
    make(0, 6).save_to_disk(tmp_path / "set")
    (file,) = (tmp_path / "set").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(OSError, match="set cannot be loaded by Hugging Face datasets: ") as error:
        open_images(tmp_path / "set")
    assert "\n" not in str(error.value)
    (tmp_path / "set" / "state.json").write_text("{")
    with pytest.raises(OSError, match="cannot be loaded"):
        open_images(tmp_path / "set")


@needs_datasets
def test_the_hub_out_of_reach(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="hf:nobody/nothing:train cannot be loaded by Hugging Face datasets"):
        open_split("hf:nobody/nothing:train")


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "state.json").touch()
    for name in ("hf:owner/name", tmp_path):
        with pytest.raises(ImportError, match=rf'{name} needs .*: pip install "crate-transformer\[train\]"'):
            open_images(name)


if datasets is not None:  # no question to the network, no bars among the tests' output
    datasets.disable_progress_bars()
    os.environ["HF_DATASETS_OFFLINE"] = "1"
