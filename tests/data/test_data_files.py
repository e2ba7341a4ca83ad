"""What lies in folders and zip files: each file once, nothing foreign, nothing endless, names as they were meant."""

import json
import logging
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from crate_transformer.data import BrokenImageError, list_images, open_images, open_split, read_image
from crate_transformer.data.archive import open_archive
from crate_transformer.data.code_pages import guess_code_page
from crate_transformer.data.files import file_sizes, list_files, read_bytes


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "crate_transformer.data")
    return lambda: "\n".join(caplog.messages)


class Stored(zipfile.ZipInfo):
    """An entry whose name is written as the bytes that it has in code page 437."""

    def _encodeFilenameFlags(self):  # noqa: N802 -- of zipfile
        return self.filename.encode("cp437"), 0


def write_names(path, names: list[bytes], *, extra=lambda raw: b"") -> None:
    """A zip file whose names are these bytes, as a program writes them that knows nothing of Unicode."""
    with zipfile.ZipFile(path, "w") as archive:
        for raw in names:
            entry = Stored(raw.decode("cp437"))
            entry.extra = extra(raw)
            archive.writestr(entry, b"x")


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_above_is_refused(make_images, target):
    folder = make_images("set/pets", {"cat": 2, "dog": 2})
    (folder / "cat" / "up").symlink_to(target)
    with pytest.raises(ValueError, match=r"cat/up is a link to a folder that contains it: remove it"):
        open_images(folder)


def test_links_lead_to_each_file_once(make_images, tmp_path, warnings):
    folder = make_images("pets", {"cat": 2, "dog": 3})
    elsewhere = make_images("elsewhere", {"": 2})
    (folder / "dog" / "new").symlink_to(elsewhere)
    (folder / "cat" / "again").symlink_to(elsewhere)
    (folder / "cat" / "a.png").symlink_to(folder / "dog" / "000.png")
    (folder / "cat" / "dogs").symlink_to(folder / "dog")
    (folder / "cat" / "z.png").symlink_to(elsewhere / "000.png")
    assert list_files(folder) == [
        *("cat/", "cat/000.png", "cat/001.png", "cat/again/", "cat/again/000.png", "cat/again/001.png"),
        *("dog/", "dog/000.png", "dog/001.png", "dog/002.png"),
    ]
    assert "skipped 4 links to files that are already listed" in warnings()


def test_a_set_of_links_alone_is_read(make_images, tmp_path):
    folder = make_images("pets", {"cat": 2, "dog": 3})
    for name in list_files(folder):
        target = tmp_path / "links" / name
        target.mkdir(parents=True) if name.endswith("/") else target.symlink_to(folder / name)
    links, files = open_images(tmp_path / "links"), open_images(folder)
    assert links.names == files.names and links.keys() == files.keys()


def test_devices_and_pipes_are_never_read(make_images):
    folder = make_images("pets", {"cat": 2, "dog": 2})
    (folder / "cat" / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "dog" / "pipe.jpg")
    refused = []
    for path in list_images([folder]):
        try:
            read_image(path)
        except BrokenImageError as error:
            refused.append(str(error))
    assert len(refused) == 2 and all("is a device, pipe or socket, not a regular file" in why for why in refused)
    os.mkfifo(folder / "pipe.zip")
    with pytest.raises(ValueError, match=r"pipe\.zip is a device, pipe or socket|neither a folder nor a readable"):
        open_images(folder / "pipe.zip")


def test_what_systems_and_this_package_wrote_is_left_out(make_images, warnings):
    outputs = {
        "runs/inspect": ("report.html", "results.json"),
        "runs/segment": ("results.json", "coco_results.json"),
        "runs/segment_killed": ("crate_run.json",),
        "runs/train": ("metrics.jsonl",),
        "dog/runs/model": ("config.json", "model.safetensors"),
    }
    clutter = ["@eaDir/cat", "cat/@eaDir", "__MACOSX/cat", ".thumbnails", "lost+found", "#recycle", "cat/._x"]
    folder = make_images("pets", {"cat": 2, "dog": 2, **dict.fromkeys(clutter, 1), **dict.fromkeys(outputs, 1)})
    make_images("pets", {"runs/segment/masks": 2})
    for place, names in outputs.items():
        for name in names:
            (folder / place / name).touch()
    (folder / "cat" / "Thumbs.db").touch()
    (folder / "cat" / "results.json").touch()
    images = open_images(folder)
    assert images.names == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    for place in outputs:
        assert f"{place}/" in warnings().partition("skipped output folders of crate: ")[2]
    assert "skipped 1 files that are not images (1 .json)" in warnings()
    assert len(list_images([folder / "runs" / "segment"])) == 3


def test_other_suffixes_are_counted(make_images, warnings):
    folder = make_images("pets", {"cat": 2, "dog": 2})
    (folder / "cat" / "000.png").rename(folder / "cat" / "000.JFIF")
    for name in ("cat/1.heic", "cat/2.HEIC", "dog/notes", "readme.txt"):
        (folder / name).touch()
    assert len(open_images(folder)) == 4
    assert "pets: skipped 3 files that are not images (2 .heic, 1 no suffix)" in warnings()


@pytest.mark.parametrize(
    ("codec", "names"),
    [
        ("utf-8", ["café", "naïve", "кот", "猫", "고양이", "cão", "żółw"]),
        ("gb18030", ["猫", "犬"]),
        ("gb18030", ["鸟类", "狗 2", "cat"]),
        ("cp932", ["ねこ", "犬", "トリ"]),
        ("big5", ["貓咪", "狗狗", "羊"]),
        ("cp866", ["кот", "собака 1"]),
        ("cp437", ["Bär", "crème", "forêt", "bâton", "señor", "Über"]),
        ("cp850", ["cão", "Álvaro"]),
    ],
)
def test_names_in_other_code_pages(codec, names, monkeypatch):
    monkeypatch.setattr("locale.getlocale", lambda: ("en_US", "UTF-8"))
    raw = [name.encode(codec) for name in names if not name.isascii()]
    assert guess_code_page(raw) == codec


def test_the_language_of_the_machine_decides_between_code_pages(monkeypatch):
    korean = ["고양이".encode("cp949"), "개".encode("cp949")]
    monkeypatch.setattr("locale.getlocale", lambda: ("ko_KR", "UTF-8"))
    assert guess_code_page(korean) == "cp949"


def test_a_zip_file_says_or_shows_how_its_names_are_encoded(tmp_path, warnings):
    meant = ["猫/0.png", "犬/0.png"]
    with zipfile.ZipFile(tmp_path / "flag.zip", "w") as archive:
        for name in meant:
            archive.writestr(name, b"x")
    write_names(tmp_path / "gbk.zip", [name.encode("gbk") for name in meant])

    def unicode_path(raw):
        field = struct.pack("<BL", 1, zlib.crc32(raw)) + raw.decode("gbk").encode()
        return struct.pack("<HH", 0x9999, 2) + b"xx" + struct.pack("<HH", 0x7075, len(field)) + field

    write_names(tmp_path / "extra.zip", [name.encode("gbk") for name in meant], extra=unicode_path)
    for file in ("flag.zip", "extra.zip", "gbk.zip"):
        assert not warnings()
        assert sorted(open_archive(tmp_path / file).entries) == sorted(meant)
        assert read_bytes(tmp_path / file, meant[0], limit=1) == b"x" and file_sizes(tmp_path / file, meant) == [1, 1]
    assert "gbk.zip: names are decoded as gb18030" in warnings()


@pytest.mark.parametrize("name", ["a//0.png", "/a/0.png", "a/../0.png", "../a/0.png", "./a/0.png"])
def test_names_that_are_no_paths_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ValueError, match=r"odd\.zip contains an entry called .*, which is not a valid path"):
        open_images(tmp_path / "odd.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a/0.png", b"1")
        archive.writestr("a/0.png", b"2")
    with pytest.raises(ValueError, match=r"twice\.zip contains two entries with the same name"):
        open_images(tmp_path / "twice.zip")


def test_windows_separators(tmp_path):
    with zipfile.ZipFile(tmp_path / "dos.zip", "w") as archive:
        for name in ("cat\\0.png", "dog\\0.png"):
            entry = zipfile.ZipInfo("x")
            entry.filename = entry.orig_filename = name
            entry.create_system = 0
            archive.writestr(entry, b"x")
    assert open_images(tmp_path / "dos.zip").classes == ("cat", "dog")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_entries_are_bounded(tmp_path, method, monkeypatch):
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "4")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as archive:
        archive.writestr("a/0.png", bytes(1 << 21))
        archive.writestr("b/0.png", bytes(1 << 10))
    images = open_images(tmp_path / "bomb.zip")
    with pytest.raises(BrokenImageError, match=r"a/0\.png.*2,097,152 bytes, more than the limit of 1,048,576"):
        images.read(0)
    reason = "not a JPEG" if method == zipfile.ZIP_DEFLATED else "not compressed with deflate"
    with pytest.raises(BrokenImageError, match=reason):
        images.read(1)


@pytest.mark.parametrize("text", ["", "-1", "0", "1e3", "many"])
def test_a_limit_that_is_no_number_is_named(monkeypatch, make_images, text):
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", text)
    with pytest.raises(
        ValueError, match=r"^the environment variable CRATE_MEMORY_LIMIT is .*: set a number of megabytes"
    ):
        open_images(make_images("pets", {"a": 1, "b": 1})).read(0)


def test_names_lead_nowhere_else(make_images):
    folder = make_images("pets", {"cat": 1, "dog": 1})
    for name in ("../pets/cat/000.png", "/etc/passwd", "cat/../../x"):
        with pytest.raises(ValueError, match="is not inside"):
            read_bytes(folder, name, limit=9999)


def test_names_that_are_not_utf8(make_images):
    folder = make_images("pets", {"cat": 3, "dog": 3})
    odd = os.fsencode(folder) + b"/\xff\xfe"
    (folder / "cat").rename(os.fsdecode(odd))
    Path(os.fsdecode(odd + b"/000.png")).rename(os.fsdecode(odd + b"/caf\xe9.png"))
    split = open_split(folder)
    assert len(split.train) == 4 and split.train.classes == ("dog", "\udcff\udcfe")
    assert all(part.read(index).size == (12, 10) for part in (split.train, split.val) for index in range(len(part)))
    assert len(set(open_images(folder).keys())) == 6


def test_spellings_in_unicode_are_one_class(make_images, tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    path = make_images("pets", {f"train/{decomposed}": 2, "train/tea": 2, f"val/{composed}": 1, "val/tea": 1})
    split = open_split(path)
    assert split.train.classes == split.val.classes == (composed, "tea")
    both = make_images("both", {f"{composed}": 2, f"{decomposed}": 3, "tea": 1})
    assert open_images(both).labels == [0] * 5 + [1]
    make_images("one", {composed: 2, "tea": 2}), make_images("two", {decomposed: 2, "tea": 2})
    assert sorted(open_images(tmp_path / "one").keys()) == sorted(open_images(tmp_path / "two").keys())


def test_words_do_not_depend_on_the_classes_that_are_there(make_images):
    words = {"n1": "crane", "n2": "crane", "n3": "dog"}
    (make_images("all", {"n1": 1, "n2": 1, "n3": 1}) / "classes.json").write_text(json.dumps(words))
    some = make_images("some", {"n1": 1, "n3": 1}, archive=True)
    with zipfile.ZipFile(some, "a") as archive:
        archive.writestr("some/classes.json", json.dumps(words))
    assert open_images(some).classes == ("crane (n1)", "dog")
    assert set(open_images(some).classes) < set(open_images(some.parent / "all").classes)
