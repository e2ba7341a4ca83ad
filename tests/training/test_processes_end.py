"""How several processes of a run end: all of them, soon, with the same sentence, and nothing is lost."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from shared_run import Job, Started, make_pictures, train_with

from crate_transformer.cli import main
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training import meeting
from crate_transformer.training.metrics import read_metrics

LOST = "crate: another process of this run has ended or does not answer: look for its message"
COMMAND = "--model crate_micro_patch4_32 --img-size 16 --batch-size 8 --log-every 1 --checkpoint-every 2 --steps"


def experiment(**schedule):
    return Experiment(
        model="crate_micro_patch4_32",
        options={"img_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2},
        optimiser=OptimiserConfig(learning_rate=1e-3, optimizer="adamw"),
        schedule=ScheduleConfig(**{"steps": 8, "batch_size": 8, "warmup_steps": 2, **schedule}),
        loop=LoopConfig(precision="float32"),
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture
def job(pictures, tmp_path):
    def make(schedule=None, execution=None, data=pictures, **options):
        execution = ExecutionConfig(log_every=1, checkpoint_every=2, **(execution or {}))
        folder = tmp_path / "run"
        return Job(experiment=experiment(**schedule or {}), execution=execution, data=data, folder=folder, **options)

    return make


def losses(folder):
    return [record["loss"] for record in read_metrics(folder / "metrics.jsonl") if "loss" in record]


def assert_all_say(ended, sentence):
    assert [one.code for one in ended] == [2] * len(ended), ended
    assert all(sentence in one.said and "Traceback" not in one.said for one in ended), ended


def test_bad_input_ends_every_process_with_the_same_sentence(job, pictures, tmp_path):
    other = make_pictures(tmp_path / "data-1", training=24)
    other.with_name("data-0").symlink_to(pictures)
    for made, sentence in (
        (job({"batch_size": 9}), "batch_size is 9: it must be a positive multiple of the 2 processes"),
        (job(execution={"accumulate": 3}), "a positive multiple of the 2 processes times 3 parts"),
        (job(data=tmp_path / "nothing"), f"{tmp_path / 'nothing'} does not exist"),
        (job(data=tmp_path / "data-{rank}"), "process 1 of this run differs from process 0 in data_hash, images"),
    ):
        assert_all_say(train_with(2, made), sentence)
        assert not losses(tmp_path / "run")
    assert [one.code for one in train_with(2, job())] == [0, 0]
    assert_all_say(train_with(2, job({"steps": 9})), "contains a finished run with other settings (steps)")
    (tmp_path / "run/strange.txt").touch()
    assert_all_say(train_with(2, job()), "contains strange.txt, which is not part of a run")


def test_one_process_cannot_be_sharded(job):
    assert_all_say(train_with(1, job(execution={"sharding": "fsdp"})), "sharding is fsdp in one process")


@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory):
    """The losses of the whole run in two processes."""
    execution = ExecutionConfig(log_every=1, checkpoint_every=2)
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = train_with(2, Job(experiment=experiment(), execution=execution, data=pictures, folder=folder))
    assert [one.code for one in ended] == [0, 0], ended
    return losses(folder)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_killed_ends_the_others_and_the_run_goes_on(job, undisturbed, tmp_path, victim):
    began = time.monotonic()
    ended = train_with(2, job(signal_at=5, number=signal.SIGKILL, victim=victim))
    assert time.monotonic() - began < 60
    assert [ended[victim].code, ended[1 - victim].code] == [-signal.SIGKILL, 2], ended
    assert LOST in ended[1 - victim].said and "Traceback" not in ended[1 - victim].said
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["metrics.jsonl", "state-00000004"]
    assert [one.code for one in train_with(2, job())] == [0, 0]
    assert losses(tmp_path / "run") == undisturbed


class ImpatientJob(Job):
    """Waits for an answer at its port for a second instead of ten."""

    def __call__(self, rank: int) -> None:
        meeting.ANSWER = 0.5
        super().__call__(rank)


def test_a_port_in_use_is_named_by_every_process(job):
    """By a program that says nothing, for which PyTorch's client waits for ever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        ended = Started(ImpatientJob(**vars(job())), 2, port=number).wait(60)
        assert_all_say(ended, f"do not meet at 127.0.0.1:{number}: something else uses this port")


def test_two_runs_at_one_port(job, tmp_path):
    """The later one ends in every process, and the first one goes on undisturbed."""
    first = Started(dataclasses.replace(job({"steps": 4000}), folder=tmp_path / "first"), 2)
    while not all("met" in output.read_text() for output in first.outputs):
        time.sleep(0.05)
    ended = Started(job(), 2, port=first.port).wait(60)
    assert_all_say(ended, f"do not meet at 127.0.0.1:{first.port}: something else uses this port")
    while not (tmp_path / "first/metrics.jsonl").exists():  # before training begins, nobody tells the others to stop
        time.sleep(0.05)
    os.kill(first.processes[0].pid, signal.SIGINT)
    assert [one.code for one in first.wait()] == [130, 130]
    assert losses(tmp_path / "first")


def torchrun(pictures, output, steps, *options):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "crate_transformer", "train"]
    given = ["--data", pictures, "--output", output, *COMMAND.split(), str(steps), *options]
    return subprocess.Popen(
        [sys.executable, *launcher, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_torchrun_needs_no_more_than_the_command(pictures, tmp_path):
    process = torchrun(pictures, tmp_path / "run", 3)
    said, complaints = process.communicate(timeout=100)
    assert process.returncode == 0, complaints
    lines = said.splitlines()
    assert lines[-1].endswith(f"saved in {tmp_path / 'run'}") and len(lines) == len(set(lines))
    assert "Warning" not in complaints and "destroy" not in complaints
    assert len(losses(tmp_path / "run")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_torchrun_ends_all_and_goes_on(pictures, tmp_path, number):
    """A killed process, or the launcher told to stop: it passes the signal on."""
    process = torchrun(pictures, tmp_path / "run", 2000)
    while not list(tmp_path.glob("run/state-*/state.json")):
        time.sleep(0.05)
    ranks = [child for child in psutil.Process(process.pid).children(recursive=True) if "train" in child.cmdline()]
    assert len(ranks) == 2
    began = time.monotonic()
    os.kill(ranks[1].pid if number == signal.SIGKILL else process.pid, number)
    complaints = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 60 and not any(rank.is_running() for rank in ranks)
    kept = LOST if number == signal.SIGKILL else "the same command goes on from here"
    assert kept in complaints
    assert len(list(tmp_path.glob("run/state-*/state.json"))) == 1


@pytest.mark.parametrize("command", ["quickstart", "evaluate", "inspect"])
def test_other_commands_are_for_one_process(command, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main([command]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.startswith(
        f"crate: crate {command} runs in one process: start it without torchrun"
    )
