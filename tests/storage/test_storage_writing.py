"""Files are written whole or not at all, together or not at all, and nothing stays behind."""

import json
import os
import signal
from pathlib import Path

import pytest

from crate_transformer import storage
from crate_transformer.storage import recover, write_file, write_files
from crate_transformer.storage.writing import UNFINISHED

OLD, NEW = {"a": b"old a", "b": b"old b"}, {"a": b"new a", "b": b"new b"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def killed_at(call: int, folder: Path, files: dict, method: str = "replace") -> None:
    """Write in a child that dies by SIGKILL just before the given call of ``Path.replace`` or ``Path.rename``."""
    pid = os.fork()
    if not pid:
        calls, original = iter(range(100)), getattr(Path, method)

        def counted(*arguments):
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        setattr(Path, method, counted)
        try:
            write_files(folder, files)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_names_may_have_folders_and_writers(tmp_path):
    write_files(tmp_path / "new", {"a": b"1", "deep/b": lambda path: path.write_bytes(b"2") and None})
    assert contents(tmp_path / "new") == {"a": b"1", "deep/b": b"2"}
    write_file(tmp_path / "new" / "a", b"3")
    assert contents(tmp_path / "new") == {"a": b"3", "deep/b": b"2"}


@pytest.mark.parametrize("method, call, found", [("rename", 0, OLD), ("replace", 0, NEW), ("replace", 1, NEW)])
def test_a_kill_leaves_old_or_new(tmp_path, method, call, found):
    write_files(tmp_path, OLD)
    killed_at(call, tmp_path, NEW, method)
    recover(tmp_path)
    assert contents(tmp_path) == found and not (tmp_path / UNFINISHED).exists()


def test_the_next_writer_finishes_what_a_killed_one_had_completed(tmp_path):
    killed_at(1, tmp_path, NEW)
    write_files(tmp_path, {"c": b"c"})
    assert contents(tmp_path) == {**NEW, "c": b"c"} and not (tmp_path / UNFINISHED).exists()


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    def write_another(path: Path) -> None:
        write_files(tmp_path, {"other": b"2"})
        recover(tmp_path)
        path.write_bytes(b"1")

    write_files(tmp_path, {"a": write_another})
    assert contents(tmp_path) == {"a": b"1", "other": b"2"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("failed writing\nfile")])
def test_a_failed_writer_changes_nothing(tmp_path, error):
    write_files(tmp_path, OLD)

    def fail(path: Path) -> None:
        raise error

    with pytest.raises(OSError, match=r"cannot write into .*; nothing there was changed"):
        write_files(tmp_path, {"a": b"new", "b": fail})
    assert contents(tmp_path) == OLD
    with pytest.raises(OSError):
        write_files(tmp_path / "absent", {"b": fail})
    assert not (tmp_path / "absent").exists()


def test_a_folder_in_the_way_is_noticed_before_anything_is_replaced(tmp_path):
    write_files(tmp_path, {"a": b"old", "b/c": b"old"})
    with pytest.raises(OSError, match="b is a folder"):
        write_files(tmp_path, NEW)
    assert contents(tmp_path) == {"a": b"old", "b/c": b"old"}


@pytest.mark.parametrize("name", ["../a", "/a", "", "b/../../a"])
def test_names_stay_inside(tmp_path, name):
    with pytest.raises(ValueError, match="not a file name inside"):
        write_files(tmp_path, {name: b""})


JOURNALS = ({"0": "../x"}, {"../0": "x"}, {"0": 1}, {"0": "link/x"})


@pytest.mark.parametrize(
    "journal",
    [
        *(b"", b"[1]", b"{}", b"\xff", pytest.param(b"[" * 100_000, id="deep")),
        *(json.dumps({"move": m, "remove": []}).encode() for m in JOURNALS),
    ],
)
def test_a_journal_from_a_stranger_moves_nothing_out(tmp_path, journal):
    staging = tmp_path / "folder" / UNFINISHED / "stranger"
    staging.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    (staging / "0").write_bytes(b"part")
    (staging / "journal.json").write_bytes(journal)
    recover(tmp_path / "folder")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["../kept", "link/kept", ".."])
def test_a_journal_from_a_stranger_removes_nothing_outside(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    for kept in (tmp_path / "kept", tmp_path / "elsewhere" / "kept"):
        kept.write_bytes(b"mine")
    staging = tmp_path / "folder" / UNFINISHED / "stranger"
    staging.mkdir(parents=True)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    (staging / "journal.json").write_text(json.dumps({"move": {}, "remove": [name]}))
    recover(tmp_path / "folder")
    assert set(contents(tmp_path)) == {"kept", "elsewhere/kept"}


def test_a_link_that_leads_out_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="link is a link that points outside"):
        write_files(tmp_path / "folder", {"link/a": b"new", "b": b"new"})
    assert contents(tmp_path) == {}


def test_files_go_with_the_new_ones_or_stay_with_the_old(tmp_path):
    write_files(tmp_path, OLD)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder is a folder"):
        write_files(tmp_path, {"c": b"new", "folder": b"new"}, remove=["a"])
    assert contents(tmp_path) == OLD
    write_files(tmp_path, {"c": b"new"}, remove=["a", "absent"])
    assert contents(tmp_path) == {name: content for name, content in OLD.items() if name != "a"} | {"c": b"new"}


def test_an_interrupt_while_files_are_put_in_place_finishes_them(tmp_path, monkeypatch):
    write_files(tmp_path, OLD)
    original, calls = Path.replace, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, NEW)
    assert contents(tmp_path) == NEW and not (tmp_path / UNFINISHED).exists()


def test_new_files_can_be_read_by_others(tmp_path):
    def private(path: Path) -> None:
        path.unlink()
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    write_files(tmp_path, {"a": private, "b": b""})
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_every_name_is_exported():
    assert all(hasattr(storage, name) for name in storage.__all__)
