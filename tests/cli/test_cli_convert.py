"""Converting and exporting: nothing is lost, whatever stands where the result is to go."""

import os
import resource
import signal
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.cli import main
from crate_transformer.models import build_model

TOY = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3, "num_classes": 2}


@pytest.fixture
def ours(tmp_path):
    """Two different checkpoints, ``one`` and ``two``."""
    return [save_checkpoint(build_model("crate_micro_patch4_32", **TOY), tmp_path / name) for name in ("one", "two")]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_command_again_gives_the_same(crate, ours, tmp_path):
    for command in (
        ["convert", ours[0], tmp_path / "out"],
        ["convert", ours[0], tmp_path / "o.pth", "--to", "official"],
    ):
        assert crate(*command).code == 0
        before = contents(tmp_path)
        assert crate(*command).code == 0
        assert contents(tmp_path) == before


def test_another_result_is_replaced_only_when_told(crate, refused, ours, tmp_path):
    for output, more in ((tmp_path / "out", ()), (tmp_path / "o.pth", ("--to", "official"))):
        assert crate("convert", ours[0], output, *more).code == 0
        before = contents(tmp_path)
        told = refused("convert", ours[1], output, *more)
        assert told.startswith(str(output)) and "give" not in told and "--overwrite" in told
        assert contents(tmp_path) == before
        assert crate("convert", ours[1], output, *more, "--overwrite").code == 0
    new = load_checkpoint(tmp_path / "out")
    assert torch.equal(new.head.weight, load_checkpoint(ours[1]).head.weight)


def test_other_hints_make_another_result(crate, refused, ours, tmp_path):
    assert crate("convert", ours[0], tmp_path / "o.pth", "--to", "official").code == 0
    command = ["convert", tmp_path / "o.pth", tmp_path / "out", "--num-heads", "3"]
    assert crate(*command).code == 0
    assert "--overwrite" in refused(*command, "--step-size", "0.3")
    assert load_checkpoint(tmp_path / "out").config.step_size == 0.1


def test_weights_without_a_configuration(crate, refused, tmp_path):
    model = build_model("crate_micro_patch4_32", num_classes=3, reg_tokens=2)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    assert "give --model and all options" in refused("convert", tmp_path / "mine.pth", tmp_path / "out")
    torch.save({"net": build_model("crate_micro_patch4_32").state_dict()}, tmp_path / "mine.pth")
    command = [
        "convert",
        tmp_path / "mine.pth",
        tmp_path / "out",
        "--model",
        "crate_micro_patch4_32",
        "--num-heads",
        "2",
    ]
    assert crate(*command).code == 0
    assert load_checkpoint(tmp_path / "out").config.num_heads == 2


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_files_of_something_else_are_kept(refused, ours, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert "--overwrite" in refused("convert", ours[0], tmp_path / "out")
    assert contents(tmp_path / "out") == {name: b"mine"}


def test_the_input_is_never_overwritten(refused, ours, tmp_path):
    one = ours[0]
    (tmp_path / "link").symlink_to(one)
    (tmp_path / "bare.pth").write_bytes(b"x")
    before = contents(tmp_path)
    for given, output, more in (
        (one, one, ()),
        (one / "model.safetensors", one, ()),
        (one, tmp_path / "link", ()),
        (one, one / "model.safetensors", ("--to", "official")),
        (one / "config.json", one / "config.json", ("--to", "official")),
        (tmp_path / "link", one / "README.md", ("--to", "official")),
        (tmp_path / "bare.pth", tmp_path / "bare.pth", ("--to", "official")),
    ):
        told = refused("convert", given, output, *more, "--overwrite")
        assert "would overwrite" in told and str(given) in told
    assert contents(tmp_path) == before


def test_a_result_beside_the_input_is_fine(crate, ours):
    assert crate("convert", ours[0], ours[0] / "official.pth", "--to", "official").code == 0


def test_metadata_of_any_shape_are_converted(crate, tmp_path):
    facts = {
        "attention": [],
        "note": "\x1b[31m",
        "split": {"held_out": ["x" * 64] * 3000},
        "license": {"a": 1},
        "": None,
    }
    folder = save_checkpoint(build_model("crate_micro_patch4_32", **TOY), tmp_path / "ck", metadata=facts)
    ran = crate("convert", folder, tmp_path / "out")
    assert ran.code == 0 and "\x1b" not in ran.out
    kept = load_checkpoint(tmp_path / "out").provenance.metadata
    assert kept == facts | {"converted_from": str(folder), "converted_with": {}}
    assert len((tmp_path / "out" / "README.md").read_text()) < 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("to", ["crate-transformer", "official"])
def test_a_kill_at_any_moment_leaves_old_or_new(ours, tmp_path, to):
    """The child is killed after less time than the whole command takes, at eight moments."""
    output = tmp_path / ("out" if to == "crate-transformer" else "o.pth")
    command = ["convert", str(ours[1]), str(output), "--to", to, "--overwrite"]
    assert main(["convert", str(ours[0]), str(output), "--to", to]) == 0
    began = time.perf_counter()
    assert main(["convert", str(ours[1]), str(tmp_path / "timed"), "--to", to]) == 0
    whole = time.perf_counter() - began
    good = [load_checkpoint(folder).head.weight for folder in ours]
    for moment in range(8):
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(main(command))
        time.sleep(whole * moment / 7)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = load_checkpoint(output, num_heads=3).head.weight
        assert any(torch.equal(found, weight) for weight in good)
    assert main(command) == 0
    assert torch.equal(load_checkpoint(output, num_heads=3).head.weight, good[1])
    assert not [path for path in tmp_path.rglob("*") if "unfinished" in path.name or path.name.startswith(".")]


@contextmanager
def little_room(size):
    """No file may become longer than ``size`` bytes, as on a disk that is nearly full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the length of files")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("command", [["convert", "ck", "out"], ["convert", "ck", "m.pth", "--to", "official"],
                                     ["export", "m.pt2", "--checkpoint", "ck", "--no-dynamic"]])  # fmt: skip
def test_without_room_there_is_one_sentence_and_the_old_file_stays(crate, refused, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    model = build_model("crate_micro_patch4_32", **TOY | {"embed_dim": 48})
    save_checkpoint(model, "ck")
    with little_room(20_000):
        assert "cannot write" in refused(*command)
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]
    assert crate(*command).code == 0
    before = contents(tmp_path)
    model.head.bias.data.add_(1)
    save_checkpoint(model, "ck")
    with little_room(20_000):
        assert "cannot write" in refused(*command, "--overwrite")
    assert {name: now for name, now in contents(tmp_path).items() if not name.startswith("ck")} == {
        name: old for name, old in before.items() if not name.startswith("ck")
    }
