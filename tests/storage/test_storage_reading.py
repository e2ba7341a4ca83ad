"""Only regular files are read, no more of them than expected, and JSON of any origin is one record or one sentence."""

import os
from dataclasses import dataclass

import pytest

from crate_transformer.storage import open_file, read_file, read_json, read_record


@dataclass(frozen=True)
class Progress:
    step: int
    loss: float
    names: tuple[str, ...] = ()


def test_devices_pipes_folders_and_large_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    (tmp_path / "link").symlink_to("/dev/zero")
    for path, reason in (
        ("pipe", "pipe"),
        ("link", "device"),
        ("", "a folder"),
        ("large", "11 bytes, more than the limit of 10; set the environment variable CRATE_MEMORY_LIMIT"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_file(tmp_path / path, limit=10)
    assert read_file(tmp_path / "large", limit=11) == bytes(11)
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        read_file(tmp_path / "absent")
    with open_file(tmp_path / "large") as stream:
        assert stream.read() == bytes(11)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff\xfe{}", "codec"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -1e999}', "the number -1e999 is too large"),
        (b'{"a": 1, "b": 2, "a": 3}', "the duplicate key 'a'"),
        (b"1" * 6000, "is too large"),
        (b'{"a": 1' + b"0" * 400 + b"}", "is too large"),
    ],
)
def test_damaged_json_is_one_sentence(tmp_path, content, reason):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json is not readable JSON: .*{reason}") as raised:
        read_json(file)
    assert len(str(raised.value)) < 300 + len(str(file))


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[]", "Expected `object`, got `array`"),
        ('{"step": 1}', "loss"),
        ('{"step": "1", "loss": 1.0}', r"`\$\.step`"),
        ('{"step": true, "loss": 1.0}', r"`\$\.step`"),
        ('{"step": 1, "loss": null}', r"`\$\.loss`"),
        ('{"step": 1, "loss": 1' + "0" * 400 + "}", "x.json"),
        ('{"step": 1, "loss": 1.0, "names": ["a", 2]}', r"`\$\.names\[1\]`"),
    ],
)
def test_a_record_names_the_field_that_is_wrong(tmp_path, content, reason):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_record(file, Progress)


def test_a_record_is_what_was_written(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('\ufeff{"step": 3, "loss": 1, "names": ["\u00fc"]}', encoding="utf-8")
    assert read_record(file, Progress) == Progress(3, 1.0, ("\u00fc",))


def test_files_that_are_longer_than_they_said():
    """As files are that grow while they are read, and those of Linux's /proc, whose size is given as 0."""
    if not os.path.exists("/proc/self/status"):  # noqa: PTH110
        pytest.skip("there is no /proc")
    assert b"VmPeak" in read_file("/proc/self/status")
    with pytest.raises(ValueError, match="grew beyond the limit of 10 bytes"):
        read_file("/proc/self/status", limit=10)
