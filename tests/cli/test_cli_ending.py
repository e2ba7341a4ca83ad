"""How commands end: signals, closed pipes, full outputs, too little memory, faults; and what reaches the terminal."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.models import build_model

CRATE = (sys.executable, "-m", "crate_transformer")
NAMES = ("\x1b[31mred\x07", "[bold]猫[/bold]", "a\u202eb <script>$x_$")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A small model whose classes have names that a terminal, rich, HTML and mathtext would take for commands."""
    model = build_model("crate_micro_patch4_32", img_size=16, depth=1, num_heads=2, num_classes=len(NAMES))
    model.class_names = NAMES
    return save_checkpoint(model, tmp_path / "checkpoint")


@pytest.fixture
def ends(crate, monkeypatch):
    """``ends(error)``: how ``crate models`` ends where ``error`` is raised inside."""
    from crate_transformer.cli import models

    def ends(error: BaseException):
        def fail(self):
            raise error

        monkeypatch.setattr(models.Command, "__call__", fail)
        return crate("models")

    return ends


def test_a_killed_worker_is_one_sentence_wherever_the_news_comes(ends):
    ran = ends(RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "))
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert ran.err.startswith("crate: a data-loading process was killed") and "--workers" in ran.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried to "
                     "allocate 123 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 123 bytes."),
    ],
    ids=["Python", "CUDA", "Linux", "Windows"],
)  # fmt: skip
def test_too_little_memory_is_one_sentence(ends, error):
    ran = ends(error)
    assert ran.code == 2 and ran.err.startswith("crate: there is not enough memory: choose a smaller")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), TypeError("unexpected"), KeyError("a\x1b[31mb")])
def test_a_fault_of_the_program_is_shown_whole_and_asks_for_a_report(ends, error):
    ran = ends(error)
    assert ran.code == 1
    assert ran.err.startswith("Traceback") and type(error).__name__ in ran.err and "\x1b" not in ran.err
    assert "please report it with the lines above (crate-transformer 0." in ran.err.splitlines()[-1]


def test_an_interrupt_tells_what_is_kept(ends):
    ran = ends(KeyboardInterrupt("3 of 5 are kept"))
    assert (ran.code, ran.err) == (130, "crate: interrupted; 3 of 5 are kept\n")
    ran = ends(KeyboardInterrupt("the same command goes on from here", signal.SIGTERM))
    assert (ran.code, ran.err) == (143, "crate: stopped by SIGTERM; the same command goes on from here\n")


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")])
def test_other_signals_interrupt_too_and_have_their_own_code(crate, monkeypatch, number, name):
    from crate_transformer.cli import models

    inherited = signal.signal(number, signal.SIG_DFL)  # nohup lets its processes ignore SIGHUP
    try:
        monkeypatch.setattr(models.Command, "__call__", lambda self: signal.raise_signal(number))
        ran = crate("models")
        again = "the same command starts again, from what was saved if there is anything"
        assert (ran.code, ran.err) == (128 + number, f"crate: stopped by {name}; {again}\n")
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, inherited)


def test_nobody_reads_the_output():
    """The pipe is closed before the first line is written."""
    command, piped = [*CRATE, "--help"], subprocess.PIPE
    with subprocess.Popen(command, stdout=piped, stderr=piped, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [("models", "crate_small*"), ("--help",)], ids=" ".join)
def test_a_full_output_is_one_sentence(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*CRATE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "crate: [Errno 28] No space left on device\n")


def test_text_from_files_cannot_steer_the_terminal(crate, checkpoint, draw, tmp_path):
    picture = draw(tmp_path / "a\x1b]0;title\x07[red].png")
    ran = crate("classify", picture, "--checkpoint", checkpoint)
    assert ran.code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out + ran.err)
    for shown in ("\\x1b[31mred\\x07", "[bold]猫[/bold]", "a\\u202eb <script>$x_$", "a\\x1b]0;title\\x07[red].png"):
        assert shown in ran.out
    ran = crate("classify", picture, tmp_path / "a\x1b.png", "--checkpoint", checkpoint)
    assert ran.code == 2 and "\x1b" not in ran.err
    found = json.loads(crate("classify", picture, "--checkpoint", checkpoint, "--json").out)
    assert found[0]["image"] == str(picture) and {kind["class"] for kind in found[0]["top"]} == set(NAMES)


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0"}, marks=pytest.mark.slow)],
    ids=str,
)
def test_a_terminal_of_another_alphabet(checkpoint, draw, tmp_path, variables):
    picture, byte = draw(tmp_path / "猫.png"), os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    shutil.copy(picture, byte)
    both = "import sys; from crate_transformer.cli import main; sys.exit(main(sys.argv[1:-1]) or main(sys.argv[1:]))"
    command = [sys.executable, "-c", both, "classify", picture, byte, "--checkpoint", checkpoint, "--json"]
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    shown, _, listed = done.stdout.decode().partition("\n[\n")
    assert "\\xff.png" in shown and ("\\u732b.png" in shown or "\\xe7\\x8c\\xab.png" in shown)
    assert [os.fsencode(one["image"]) for one in json.loads(f"[{listed}")] == [*map(os.fsencode, (picture, byte))]


def test_names_that_are_no_utf8_go_through_every_command(crate, checkpoint, draw, tmp_path):
    folder = tmp_path / "pictures"
    draw(folder / "a.png", seed=1), draw(folder / "a.jpg", seed=2)
    shutil.copy(folder / "a.png", os.fsencode(folder) + b"/\xe9.png")
    for command in ("inspect", "segment"):
        output = tmp_path / command
        ran = crate(command, folder, "--checkpoint", checkpoint, "--size", "32", "--output", output)
        assert ran.code == 0, ran.err
        names = [Path(entry["image"]).name for entry in json.loads((output / "results.json").read_text())["pictures"]]
        assert sorted(names) == ["a.jpg", "a.png", "\udce9.png"]
    page = (tmp_path / "inspect" / "report.html").read_text()
    shown = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert [Path(picture["name"]).name for picture in shown["pictures"]][-1] == "\\xe9.png"
    classes = [kind for kind, _ in shown["pictures"][0]["views"][0]["top"]]
    assert "a\\u202eb <script>$x_$" in classes and "<script>$x_$" not in page


def test_several_pictures_of_which_some_are_unusable(crate, checkpoint, draw, tmp_path):
    """A picture that the command names itself makes its exit code 1; one in a folder only a warning."""
    good, long = draw(tmp_path / "few" / "a.png", seed=1), draw(tmp_path / "few" / "long.png", (680, 40))
    broken = tmp_path / "few" / "broken.png"
    broken.write_text("no picture")
    size = ("--size", "40")  # of pictures more than 16 times as long as wide nothing sensible would be seen
    for command, options in (("classify", ("--json",)), ("inspect", size), ("segment", size)):
        for given, code in (((good, broken, long), 1), ((tmp_path / "few",), 0)):
            output = () if command == "classify" else ("--output", tmp_path / f"{command}{code}")
            ran = crate(command, *given, "--checkpoint", checkpoint, *options, *output)
            assert ran.code == code, ran.err
            assert f"skipped: {broken} is not a readable image" in ran.err
            assert (f"skipped: {long} is 17.0 times as long as wide" in ran.err) == (command != "classify")
            assert re.search(r"\d of \d images were skipped\n$", ran.err)
            if output:
                results = json.loads((output[1] / "results.json").read_text())
                assert [entry["image"] for entry in results["pictures"]] == [str(good)]
                assert {str(broken), str(long)} <= results["left_out"].keys()


def test_none_of_several_is_usable(refused, checkpoint, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_text("no picture")
    for command in ("classify", "inspect", "segment"):
        output = () if command == "classify" else ("--output", tmp_path / "out")
        told = refused(command, tmp_path / "bad", "--checkpoint", checkpoint, *output)
        assert told.startswith("none of the 2 images can be used; the last one: ") and "b.png is not a readable" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_segment_goes_on_where_it_was_stopped(crate, draw, tmp_path, number):
    for index in range(24):
        draw(tmp_path / "many" / f"{index}.png", (64, 64), seed=index)
    output = tmp_path / "out"
    command = ("segment", tmp_path / "many", "--output", output, "--size", "112")
    environment, pipes = {**os.environ, "OMP_NUM_THREADS": "1"}, {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*CRATE, *command], env=environment, start_new_session=True, text=True, **pipes)
    try:
        until = time.monotonic() + 120
        while not list(output.glob("objects/0002-*")):
            assert process.poll() is None and time.monotonic() < until, process.communicate()
            time.sleep(0.01)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    told = r"; (\d+) of 24 images are finished and kept: the same command continues with the others\n$"
    (kept,) = re.findall(told, err)
    before = {file.name: file.stat().st_mtime_ns for file in output.glob("objects/*.json")}
    assert int(kept) <= len(before) <= int(kept) + 1 and 3 <= len(before) < 24  # one may just have been put in place
    assert not (output / "results.json").exists()
    done = crate(*command)
    assert done.code == 0 and " in 24 images" in done.out, done.err
    assert before.items() <= {file.name: file.stat().st_mtime_ns for file in output.glob("objects/*.json")}.items()
    assert len(list((output / "masks").iterdir())) == len(list((output / "overlays").iterdir())) == 24
