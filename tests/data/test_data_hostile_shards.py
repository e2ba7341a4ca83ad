"""Tar files and indexes that are damaged, changed, or that strangers wrote."""

import json
import logging
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from written_shards import bytes_of, decoded, labelled, picture, special, write_tar

from crate_transformer.data import BrokenImageError, open_images


def test_missing_changed_new_and_truncated_shards(shards):
    images = open_images(shards)
    last, file = shards / "002.tar", shards / "crate_index.safetensors"
    content, status = last.read_bytes(), last.stat()
    last.unlink()
    with pytest.raises(ValueError, match=rf"002\.tar is missing but was indexed: put it back, or delete {file}"):
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
        ValueError, match=r"001\.tar is (not a complete tar file|truncated).*: download or pack it again"
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
        "4 files whose names point outside the tar file",
        "4 links, devices and sparse files",
        "1 labels without an image",
        "3 images without a label",
        "2 .cls files without a readable label",
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
        with pytest.raises(ValueError, match=r"a\.tar is not a complete tar file"):
            open_images(tmp_path / name)
    endless = bytearray(write_tar(tmp_path / "size" / "a.tar", labelled(0, 3)).read_bytes())
    for size in (b"77777777777\0", b"\xff" * 11 + b"\0"):  # 8 GiB, and a negative number
        endless[124:136] = size
        endless[148:156] = b" " * 8
        endless[148:156] = f"{sum(endless[:512]):06o}\0 ".encode()
        (tmp_path / "size" / "a.tar").write_bytes(endless)
        with pytest.raises(ValueError, match=r"a\.tar is (not a complete tar file|damaged|truncated)"):
            open_images(tmp_path / "size")


def test_large_and_broken_pictures_are_named(tmp_path, monkeypatch):
    files = labelled(0, 3) | {"big.png": picture(5) + bytes(1 << 19), "big.cls": b"0", "x.png": b"no", "x.cls": b"1"}
    images = open_images(write_tar(tmp_path / "a.tar", files))
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    for index, reason in ((3, "more than the limit of 262,144; set "), (4, "not a JPEG")):
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
    with pytest.raises(ValueError, match=rf"{file} is not a readable index of tar files \(.*\): delete it"):
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
    with pytest.raises(ValueError, match="is missing but was indexed"):
        open_images(shards)
