"""Help, versions and wrong words: at once, and without PyTorch."""

import os
import subprocess
import sys

import pytest

import crate_transformer
from crate_transformer.cli import COMMANDS
from crate_transformer.cli.ending import sentence

LOOK = """
import sys
from crate_transformer.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code or 0
heavy = {"torch", "matplotlib", "numpy", "PIL", "sklearn", "accelerate"} & sys.modules.keys()
print("imported:", *sorted(heavy))
sys.exit(code)
"""


def run(*arguments):
    command = [sys.executable, "-c", LOOK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", [("--help",), *((name, "--help") for name in COMMANDS)], ids=" ".join)
def test_help_takes_less_than_half_a_second(arguments):
    """Of processor time, which other processes hardly change; at best of five, since the first run reads the disk."""
    seconds = []
    while not seconds or (min(seconds) > 0.5 and len(seconds) < 5):
        before = os.times()
        done = run(*arguments)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert done.returncode == 0 and "usage: crate" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"
    assert min(seconds) < 0.5


def test_the_command_is_installed():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="crate")
    assert script.load() is crate_transformer.cli.main


@pytest.mark.parametrize("module", ["crate_transformer", "crate_transformer.cli"])
def test_as_a_module(module):
    command = [sys.executable, "-m", module]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"crate-transformer {crate_transformer.__version__}\n")
    done = subprocess.run([*command, "trian"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "crate: there is no command 'trian'; did you mean train?\n"


def test_without_arguments_there_is_help(crate):
    ran = crate()
    assert ran.code == 0 and ran == crate("-h")
    for name in COMMANDS:
        assert f"\n  {name} " in ran.out


def test_the_help_of_an_objective_tells_its_data(crate):
    for task, words in (("classification", "one sub-folder per class"), ("segmentation", "images with masks")):
        told = " ".join(crate("train", "--task", task, "--help").out.replace("│", " ").split())
        assert words in told and ("sub-folder per class" in told) == (task == "classification")


def test_an_unknown_command(refused):
    assert refused("xyz").startswith("there is no command 'xyz'; choose one of quickstart, models, train")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--data", "x", "--stepss", "3"), ("Unrecognized", "--stepss", "--steps")),
        (("classify", "x.jpg", "--chekpoint", "y"), ("Unrecognized", "--chekpoint", "--checkpoint")),
        (("train",), ("--data",)),
        (("train", "--data", "x", "--optimizer", "sgd"), ("sgd", "--optimizer", "adamw")),
        (("train", "--data", "x", "--batch-size", "many"), ("--batch-size", "many")),
        (("train", "--data", "x", "--epochs", "0"), ("epochs is 0.0: it must be greater than 0",)),
        (("train", "--data", "x", "--recipe"), ("--recipe",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_wrong_option_is_named(crate, arguments, words):
    ran = crate(*arguments)
    assert ran.code == 2 and ran.out == ""
    assert all(word in ran.err for word in words), ran.err
    assert "Traceback" not in ran.err


def test_sentences():
    assert sentence(FileNotFoundError(2, "No such file or directory", "a.txt")) == "a.txt: no such file or directory"
    assert sentence(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"
    assert sentence(ValueError("two\n  lines")) == "two lines"


def test_an_interrupt_has_its_own_code(crate, monkeypatch):
    from crate_transformer.cli import models

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.Command, "__call__", interrupt)
    ran = crate("models")
    assert (
        ran.code == 130
        and ran.err == "crate: interrupted; the same command starts again, from what was saved if there is anything\n"
    )


def test_developers_see_the_traceback(crate, monkeypatch):
    monkeypatch.setenv("CRATE_DEBUG", "1")
    ran = crate("models", "zzz")
    assert ran.code == 2 and ran.err.startswith("Traceback") and "ValueError: no model matches 'zzz'" in ran.err


@pytest.mark.parametrize(
    ("code", "given", "wanted"),
    [
        ("from crate_transformer.cli import main; main(['--version'])", None, "PASSIVE"),
        ("from crate_transformer.cli import main; main(['--version'])", "ACTIVE", "ACTIVE"),
        ("import crate_transformer.models", None, "None"),
    ],
)
def test_idle_threads_sleep_unless_the_user_says_otherwise(code, given, wanted):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    code += "\nimport os; print(os.environ.get('OMP_WAIT_POLICY'))"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == wanted


def test_a_sentence_about_a_long_value_is_short():
    told = sentence(ValueError(f"config.json holds {'a' * 100_000!r} as interpolation"))
    assert told.startswith("config.json holds 'aaa") and told.endswith("aaa' as interpolation") and len(told) < 2100
