"""Pictures in tar files: layouts, and exact random access."""

import json
import logging
import multiprocessing
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from written_shards import bytes_of, decoded, labelled, picture, write_tar

from crate_transformer.data import open_evaluation, open_images, open_split
from crate_transformer.data.shards import ShardImages


def test_samples_are_read_in_any_order(shards):
    images = open_images(shards)
    assert isinstance(images, ShardImages) and len(images) == 12 and images.classes == ("0", "1", "2")
    assert images.labels == [value % 3 for value in range(12)]
    assert [bytes_of(images, index) for index in (11, 0, 7, 7)] == [decoded(value) for value in (11, 0, 7, 7)]
    some = images.subset([5, 2])
    assert some.part_of == 12
    assert some.labels == [2, 2] and bytes_of(some, 1) == decoded(2)
    assert some.keys() == [images.keys()[5], images.keys()[2]] and len(set(images.keys())) == 12
    assert set(map(len, images.keys())) == {16}
    assert images.fingerprint() == open_images(shards).fingerprint() != some.fingerprint()
    assert (images.where, images.name(5)) == (str(shards), "001.tar/0005.png")
    assert open_images(shards / "001.tar").name(1) == "0005.png"


def test_keys_and_index_stay_when_the_folder_moves(shards, tmp_path):
    before = open_images(shards)
    assert (shards / "crate_index.safetensors").is_file()
    shards.rename(tmp_path / "moved")
    after = open_images(tmp_path / "moved")
    assert after.keys() == before.keys() and after.fingerprint() == before.fingerprint()
    assert bytes_of(after, 3) == decoded(3)


def test_one_folder_per_class_has_the_keys_of_the_folder(make_images, tmp_path):
    folder = make_images("pets", {"dog": 3, "cat": 2})
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(folder, "./pets")
    in_folder, in_tar = open_images(folder), open_images(tmp_path / "pets.tar")
    assert in_tar.classes == ("cat", "dog")
    assert dict(zip(in_tar.keys(), in_tar.labels, strict=True)) == dict(
        zip(in_folder.keys(), in_folder.labels, strict=True)
    )
    assert in_tar.content_key(0, "x") in {in_folder.content_key(index, "x") for index in range(5)}
    split = open_split(tmp_path / "pets.tar")
    assert split.divided_here and set(split.val.keys()) == set(open_split(folder).val.keys())


def test_labels_in_json_and_words_for_them(tmp_path):
    files = {}
    for value, label in enumerate(({"label": 10}, {"class": 9, "x": [1]}, {"label": 10})):
        files |= {f"{value}.json": json.dumps(label).encode(), f"{value}.png": picture(value)}
    write_tar(tmp_path / "set" / "a.tar", files)
    images = open_images(tmp_path / "set")
    assert images.classes == ("9", "10") and images.labels == [1, 0, 1]
    (tmp_path / "set" / "classes.json").write_text('{"9": "cat", "10": "dog"}')
    assert open_images(tmp_path / "set").classes == ("cat", "dog")
    with pytest.raises(ValueError, match="unknown classes: cat"):
        open_images(tmp_path / "set").relabel(("dog",))


@pytest.mark.parametrize(
    "names", [("train-0.tar", "val-0.tar"), ("train/0.tar", "val/0.tar"), ("a-train.tar", "a-test.tar")]
)
def test_parts_are_told_by_the_names_of_tar_files(tmp_path, names):
    for start, name in zip((0, 8), names, strict=True):
        write_tar(tmp_path / name, labelled(start, 6))
    split = open_split(tmp_path)
    assert not split.divided_here and (len(split.train), len(split.val)) == (6, 6)
    assert bytes_of(split.val, 0) == decoded(8)
    assert open_evaluation(tmp_path).keys() == split.val.keys()
    with pytest.raises(ValueError, match="is divided"):
        open_images(tmp_path)
    write_tar(tmp_path / "other.tar", labelled(20, 3))
    (tmp_path / "crate_index.safetensors").unlink()
    with pytest.raises(ValueError, match=r"contains other\.tar beside"):
        open_split(tmp_path)


def test_parts_inside_a_tar_file(make_images, tmp_path):
    folder = make_images("c", {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(folder, "c")
    split = open_split(tmp_path / "c.tar")
    assert (len(split.train), len(split.val), split.val.classes) == (4, 2, ("a", "b"))
    assert split.train.keys() == open_split(folder).train.keys()


def test_tar_files_named_by_wordnet_are_classes(tmp_path):
    for number, name in enumerate(("n01440764", "n01443537")):
        write_tar(tmp_path / f"{name}.tar", {f"{name}_{i}.png": picture(2 * number + i) for i in range(2)})
    images = open_images(tmp_path)
    assert images.labels == [0, 0, 1, 1] and bytes_of(images, 3) == decoded(3)


def test_a_folder_that_cannot_be_written_is_indexed_in_the_cache(shards, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (shards / ".unfinished").touch()  # where files are written first
    keys = open_images(shards).keys()
    assert not (shards / "crate_index.safetensors").exists()
    (file,) = (tmp_path / "cache" / "crate-transformer").iterdir()
    status = file.stat()
    assert open_images(shards).keys() == keys and file.stat().st_mtime_ns == status.st_mtime_ns
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        assert open_images(shards).keys() == keys
    assert "can be written: the next command will index" in caplog.text


def _all_bytes(images: ShardImages) -> list[bytes]:
    return [bytes_of(images, index) for index in np.random.default_rng(0).permutation(len(images)).tolist() * 5]


def test_processes_read_the_same_at_once(shards):
    images = open_images(shards)
    expected = _all_bytes(images)  # the files are open when processes are forked
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert all(found == expected for found in pool.map(_all_bytes, [images] * 6))
    assert _all_bytes(pickle.loads(pickle.dumps(images))) == expected  # what a spawned process gets


def test_more_shards_than_open_files(tmp_path):
    for number in range(300):
        write_tar(tmp_path / f"{number:03}.tar", labelled(number, 1))
    images = open_images(tmp_path)
    assert [bytes_of(images, index) for index in (*range(300), 0)] == [decoded(v) for v in (*range(300), 0)]
    assert len(list(Path("/proc/self/fd").iterdir())) < 400


def test_empty_and_unlabelled_sets_are_refused(tmp_path):
    write_tar(tmp_path / "none" / "a.tar", {"a.txt": b"x"})
    write_tar(tmp_path / "flat" / "a.tar", {"a.png": picture(0), "b.png": picture(1)})
    for name in ("none", "flat"):
        with pytest.raises(ValueError, match=r"contains no labelled images: a sample is key\.jpg with key\.cls"):
            open_images(tmp_path / name)
    write_tar(tmp_path / "one" / "a.tar", labelled(0, 3, labels=1))
    with pytest.raises(ValueError, match="single class '0'"):
        open_images(tmp_path / "one")
