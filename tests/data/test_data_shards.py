"""Pictures in tar files: layouts, exact random access, and tar files and indexes that strangers wrote."""

import io
import json
import logging
import multiprocessing
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from crate_transformer.data import BrokenImageError, open_evaluation, open_images, open_split
from crate_transformer.data.shards import ShardImages


def picture(value: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_tar(path: Path, files: dict[str, bytes], *special: tarfile.TarInfo, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in special:
            archive.addfile(member)
    return path


def labelled(start: int, count: int, labels: int = 3) -> dict[str, bytes]:
    files = {}
    for value in range(start, start + count):
        files[f"{value:04}.png"] = picture(value)
        files[f"{value:04}.cls"] = str(value % labels).encode()
    return files


@pytest.fixture
def shards(tmp_path) -> Path:
    """Three tar files of four samples."""
    for number in range(3):
        write_tar(tmp_path / "set" / f"{number:03}.tar", labelled(4 * number, 4))
    return tmp_path / "set"


def bytes_of(images, index: int) -> bytes:
    return images.read(index).tobytes()


def decoded(value: int) -> bytes:
    return Image.open(io.BytesIO(picture(value))).tobytes()


def test_samples_are_read_in_any_order(shards):
    images = open_images(shards)
    assert isinstance(images, ShardImages) and len(images) == 12 and images.classes == ("0", "1", "2")
    assert images.labels == [value % 3 for value in range(12)]
    assert [bytes_of(images, index) for index in (11, 0, 7, 7)] == [decoded(value) for value in (11, 0, 7, 7)]
    some = images.subset([5, 2])
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
    with pytest.raises(ValueError, match="classes that are not among the known: cat"):
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
    with pytest.raises(ValueError, match=r"holds other\.tar beside"):
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


def test_missing_changed_new_and_truncated_shards(shards):
    images = open_images(shards)
    last, file = shards / "002.tar", shards / "crate_index.safetensors"
    content, status = last.read_bytes(), last.stat()
    last.unlink()
    with pytest.raises(ValueError, match=rf"002\.tar is missing, which was indexed: put it back, or delete {file}"):
        open_images(shards)
    with pytest.raises(ValueError, match=r"002\.tar is missing"):
        images.read(11)
    last.write_bytes(content[:-512])
    with pytest.raises(ValueError, match=r"002\.tar has changed since it was indexed \(.* bytes instead of"):
        open_images(shards)
    last.write_bytes(content)
    with pytest.raises(ValueError, match=r"002\.tar has changed since it was indexed \(its date\): restore it, or"):
        open_images(shards)
    with pytest.raises(ValueError, match=r"002\.tar has changed since it was indexed"):
        images.read(11)
    os.utime(last, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert bytes_of(open_images(shards), 11) == decoded(11)
    write_tar(shards / "003.tar", labelled(20, 1))
    with pytest.raises(ValueError, match=r"003\.tar is new since .* was indexed: delete"):
        open_images(shards)
    file.unlink()
    assert len(open_images(shards)) == 13


@pytest.mark.parametrize("cut", [100, 512, 700, 2048, 5000])
def test_a_truncated_tar_file_is_refused(shards, cut):
    file = shards / "001.tar"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=r"001\.tar is (no whole tar file|truncated).*: fetch or pack it again"
    ) as error:
        open_images(shards)
    assert "\n" not in str(error.value) and not (shards / "crate_index.safetensors").exists()


def test_a_damaged_header_in_the_middle_is_no_end(shards):
    file = shards / "001.tar"
    content = bytearray(file.read_bytes())
    content[content.index(b"0005.cls") + 150] ^= 1  # its checksum
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"001\.tar is damaged"):
        open_images(shards)
    file.write_bytes((shards / "000.tar").read_bytes() + (shards / "002.tar").read_bytes())
    with pytest.raises(ValueError, match=r"001\.tar is damaged, or joined from several"):
        open_images(shards)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_what_is_no_file_inside_is_left_out_with_a_count(tmp_path, caplog):
    files = {"/etc/a.png": picture(0), "/etc/a.cls": b"0", "../b.png": picture(1), "x/../c.png": picture(1)}
    files |= {"._0000.png": b"mac", "__MACOSX/0.png": b"mac", "alone.cls": b"1", "lost.png": picture(1)}
    files |= {"bad.cls": b"\xff\xfe\xff", "bad.png": picture(1), "minus.cls": b"-1", "minus.png": picture(1)}
    kinds = [special("l.png", tarfile.SYMTYPE, "/etc/passwd"), special("h.png", tarfile.LNKTYPE, "0000.png")]
    kinds += [special("d.png", tarfile.CHRTYPE), special("p.png", tarfile.FIFOTYPE)]
    write_tar(tmp_path / "s" / "a.tar", labelled(0, 6) | files, *kinds)
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        images = open_images(tmp_path / "s")
    assert len(images) == 6
    for words in (
        "4 files whose names lead elsewhere",
        "4 links, devices and sparse files",
        "1 labels without a picture beside them",
        "3 pictures without a label",
        "2 .cls files without a label that can be read",
    ):
        assert words in caplog.text


def test_headers_without_bound_are_refused(tmp_path):
    write_tar(tmp_path / "name" / "a.tar", {"a" * 3_000_000 + ".png": picture(0)}, format=tarfile.GNU_FORMAT)
    write_tar(
        tmp_path / "records" / "a.tar",
        labelled(0, 3),
        format=tarfile.PAX_FORMAT,
        pax_headers={f"key{number}": "x" for number in range(2000)},
    )
    for name in ("name", "records"):
        with pytest.raises(ValueError, match=r"a\.tar is no whole tar file"):
            open_images(tmp_path / name)
    endless = bytearray(write_tar(tmp_path / "size" / "a.tar", labelled(0, 3)).read_bytes())
    for size in (b"77777777777\0", b"\xff" * 11 + b"\0"):  # 8 GiB, and a negative number
        endless[124:136] = size
        endless[148:156] = b" " * 8
        endless[148:156] = f"{sum(endless[:512]):06o}\0 ".encode()
        (tmp_path / "size" / "a.tar").write_bytes(endless)
        with pytest.raises(ValueError, match=r"a\.tar is (no whole tar file|damaged|truncated)"):
            open_images(tmp_path / "size")


def test_large_and_broken_pictures_are_named(tmp_path, monkeypatch):
    files = labelled(0, 3) | {"big.png": picture(5) + bytes(1 << 19), "big.cls": b"0", "x.png": b"no", "x.cls": b"1"}
    images = open_images(write_tar(tmp_path / "a.tar", files))
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    for index, reason in ((3, "more than the limit of 262,144; a larger CRATE_MEMORY_LIMIT"), (4, "not a JPEG")):
        with pytest.raises(BrokenImageError, match=rf"a\.tar/(big|x)\.png is not a readable image \(.*{reason}"):
            images.read(index)


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays["offset"].__setitem__(0, 1 << 60),
        lambda arrays: arrays["offset"].__setitem__(0, -5),
        lambda arrays: arrays["length"].__setitem__(0, 1 << 62),
        lambda arrays: arrays["shard"].__setitem__(0, 3),
        lambda arrays: arrays["label"].__setitem__(0, -1),
        lambda arrays: arrays.__setitem__("key", arrays["key"][1:].copy()),
        lambda arrays: arrays.__setitem__("offset", arrays["offset"].astype(np.float64)),
        lambda arrays: arrays.pop("length"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(shards, damage):
    open_images(shards)
    file = shards / "crate_index.safetensors"
    arrays, metadata = load_file(file), header(file)
    damage(arrays)
    save_file(arrays, file, metadata=metadata)
    with pytest.raises(ValueError, match=rf"{file} is no readable index of tar files \(.*\): delete it"):
        open_images(shards)


def header(file: Path) -> dict[str, str]:
    content = file.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


def test_an_index_of_another_kind_is_refused(shards):
    open_images(shards)
    file = shards / "crate_index.safetensors"
    arrays, metadata = load_file(file), header(file)
    for content in (b"", b"\0" * 50, file.read_bytes()[:200]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="delete it"):
            open_images(shards)
    for changes in ({"format": "2"}, {"index": "{}"}, {"index": metadata["index"].replace('"size": ', '"size": "x')}):
        save_file(arrays, file, metadata=metadata | changes)
        with pytest.raises(ValueError, match="safetensors"):
            open_images(shards)
    outside = metadata["index"].replace("000.tar", "../x.tar")
    save_file(arrays, file, metadata=metadata | {"index": outside})
    with pytest.raises(ValueError, match="is missing, which was indexed"):
        open_images(shards)


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
    assert "can be written, so the next command will index" in caplog.text


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
        with pytest.raises(ValueError, match=r"holds no labelled images: a sample is key\.jpg with key\.cls"):
            open_images(tmp_path / name)
    write_tar(tmp_path / "one" / "a.tar", labelled(0, 3, labels=1))
    with pytest.raises(ValueError, match="single class '0'"):
        open_images(tmp_path / "one")
