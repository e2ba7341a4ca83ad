"""A run goes on from any step as if it had never stopped, or says in a sentence why it cannot."""

import errno
import math
import os
import resource
import signal

import pytest
import torch
from small_problem import classification_with, steps_of

from crate_transformer.training import state_tensors, stepper, trainer
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.state import remove_states

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")


every_optimizer = pytest.mark.parametrize("optimizer", ["adamw", "lion", pytest.param("muon", marks=needs_muon)])


def same(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stop_at(wanted, number=signal.SIGINT):
    return lambda step: os.kill(os.getpid(), number) if step == wanted else None


@every_optimizer
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(run, tmp_path, optimizer, number):
    handler = signal.getsignal(signal.SIGINT)
    run(tmp_path / "whole", optimizer=optimizer)
    whole = run.weights()
    folder = tmp_path / "parts"
    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            run(folder, optimizer=optimizer, before=stop_at(stop, number))
        assert names(folder) == ["metrics.jsonl", f"state-{stop:08d}"]
        torch.rand(5)
    result = run(folder, optimizer=optimizer)
    assert result.resumed_at == 7 and result.earlier_seconds > 0
    assert same(run.weights(), whole)
    assert steps_of(folder) == [3, 7, 8]
    assert signal.getsignal(signal.SIGINT) is handler


def test_interrupted_at_the_last_step_there_is_nothing_left_to_do(run, tmp_path):
    result = run(tmp_path / "whole")
    whole = run.weights()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", before=stop_at(8))
    resumed = run(tmp_path / "parts", before=lambda step: pytest.fail(f"step {step} was repeated"))
    assert same(run.weights(), whole)
    assert (resumed.steps, resumed.loss) == (8, result.loss)
    assert steps_of(tmp_path / "parts") == [8]


@every_optimizer
def test_a_crash_costs_the_steps_since_the_last_state(run, tmp_path, optimizer):
    run(tmp_path / "whole", optimizer=optimizer, checkpoint_every=2)
    whole = run.weights()

    def crash(step):
        if step == 6:
            raise RuntimeError("the machine is gone")

    folder = tmp_path / "parts"
    with pytest.raises(RuntimeError, match="the machine is gone"):
        run(folder, optimizer=optimizer, checkpoint_every=2, before=crash)
    assert names(folder) == ["metrics.jsonl", "state-00000004"]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')  # written after the state; cut short by the crash
    assert run(folder, optimizer=optimizer, checkpoint_every=2).resumed_at == 4
    assert same(run.weights(), whole)
    assert steps_of(folder) == [2, 4, 6, 8]


def test_time_adds_up_over_sessions(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, before=stop_at(3))
    (record,) = read_metrics(tmp_path / "metrics.jsonl")
    result = run(tmp_path)
    assert result.earlier_seconds == record["seconds"] and result.seconds > record["seconds"]
    assert math.isfinite(record["loss"]) and record["images_per_second"] > 0
    assert 0 <= record["waiting_for_data"] <= 1


def test_other_settings_do_not_resume(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, before=stop_at(3), options={"settings": {"data": "cats"}})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for changes, named in (
        ({"learning_rate": 1e-4, "seed": 5}, "learning_rate, seed"),
        ({"steps": 9}, "steps"),
        ({"options": {"settings": {"data": "dogs"}}}, "data"),
        ({"options": {}}, "data"),
    ):
        with pytest.raises(ValueError, match="unfinished run with other settings") as error:
            run(tmp_path, **{"options": {"settings": {"data": "cats"}}, **changes})
        assert str(error.value) == (
            f"{tmp_path} holds an unfinished run with other settings ({named}): "
            "repeat its settings to resume it, choose another output folder, or replace it with --overwrite"
        )
    assert names(tmp_path) == ["metrics.jsonl", "state-00000003"]
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_damaged_state_is_named(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, before=stop_at(3))
    for name in ("tensors.safetensors", "state.json"):
        file = tmp_path / "state-00000003" / name
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[-9] ^= 1
        for damaged in (content[: len(content) // 2], b"", bytes(flipped)):
            file.write_bytes(damaged)
            with pytest.raises(ValueError, match="state-00000003") as error:
                run(tmp_path)
            assert "\n" not in str(error.value)
        file.unlink()
        with pytest.raises(ValueError, match="state-00000003 is damaged: remove it to start again"):
            run(tmp_path)
        file.write_bytes(content)
    run(tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_state(run, tmp_path):
    task = classification_with(lambda loss, model, step: loss * (math.nan if step == 4 else 1))
    with pytest.raises(ValueError, match=r"^the loss is nan at step 5: run it again") as error:
        run(tmp_path, task=task, checkpoint_every=2)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["metrics.jsonl", "state-00000004"]
    assert steps_of(tmp_path) == [2, 4]
    run(tmp_path / "whole", checkpoint_every=2)
    whole = run.weights()
    run(tmp_path, checkpoint_every=2)
    assert same(run.weights(), whole)


def contents(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["enospc", "nothing", "tensors"])
def fill_disk(request, monkeypatch):
    """Makes the next states fail in the middle: as the system says it, or really, at the first or the second file."""
    real, limits = state_tensors.save_file, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fail(tensors, path):
        real(tensors, path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(_step):
        if request.param == "enospc":
            monkeypatch.setattr(state_tensors, "save_file", fail)
        else:
            sizes = {"nothing": 0, "tensors": 3000}
            resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[request.param], limits[1]))

    def empty():
        monkeypatch.setattr(state_tensors, "save_file", real)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    yield fill, empty
    empty()


def test_a_full_disk_leaves_the_last_state(run, tmp_path, fill_disk):
    fill, empty = fill_disk
    run(tmp_path / "whole", checkpoint_every=2)
    whole, kept = run.weights(), {}

    def before(step):
        if step == 4:
            kept.update(contents(tmp_path / "parts" / "state-00000002"))
            fill(step)

    with pytest.raises(OSError, match=r"could not be (saved|written)") as error:
        run(tmp_path / "parts", checkpoint_every=2, before=before)
    empty()
    assert "\n" not in str(error.value) and str(tmp_path / "parts") in str(error.value)
    assert names(tmp_path / "parts") == ["metrics.jsonl", "state-00000002"]
    assert contents(tmp_path / "parts" / "state-00000002") == kept != {}
    run(tmp_path / "parts", checkpoint_every=2)
    assert same(run.weights(), whole)
    assert steps_of(tmp_path / "parts") == [2, 4, 6, 8]


def test_states_are_removed_together_with_what_killed_processes_left(run, tmp_path):
    run(tmp_path)
    (tmp_path / "state-00000004").mkdir()
    remove_states(tmp_path)
    assert names(tmp_path) == ["metrics.jsonl"]


def test_a_folder_that_a_killed_process_left_does_not_cost_the_next_state(run, tmp_path):
    """It looks like the newest state."""
    (tmp_path / "state-00000007" / ".unfinished").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, before=stop_at(3))
    assert names(tmp_path) == ["metrics.jsonl", "state-00000003"]
    assert run(tmp_path).resumed_at == 3


def test_a_best_model_that_could_not_be_kept_is_kept_when_the_run_goes_on(run, tmp_path):
    kept, accuracies = [], iter([0.1, 0.9, 0.9, 0.5, 0.9])

    def keep_best(model, step, numbers):
        if step == 4 and len(kept) == 1:
            kept.append("no space")
            raise OSError("no space")
        kept.append(step)

    options = {"validate": lambda model: {"top1": next(accuracies)}, "keep_best": keep_best}
    with pytest.raises(OSError, match="no space"):
        run(tmp_path, options=options, evaluate_every=2, checkpoint_every=2)
    result = run(tmp_path, options=options, evaluate_every=2, checkpoint_every=2)
    assert (result.resumed_at, result.best_step, kept) == (4, 4, [2, "no space", 4])


def test_a_second_interrupt_does_not_wait(run, tmp_path, monkeypatch):
    monkeypatch.setattr("crate_transformer.training.interrupt.SAME_WISH", 0)

    def impatient(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second interrupt was ignored")

    with pytest.raises(KeyboardInterrupt, match="goes on from the last state, if there is one"):
        run(tmp_path, before=impatient)
    assert names(tmp_path) == []


def test_torchrun_repeats_a_signal_without_harm(run, tmp_path):
    def twice(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="goes on from here"):
        run(tmp_path, before=twice)
    assert names(tmp_path) == ["metrics.jsonl", "state-00000003"]


def test_a_resumed_run_keeps_the_precision_that_it_began_with(run, tmp_path, monkeypatch):
    """Precision "auto" is measured: on a busy machine a second measurement may turn out otherwise."""
    used, build = [], stepper.build_optimizers

    def build_noted(task, config, products):
        used.append(products)
        return build(task, config, products)

    monkeypatch.setattr(stepper, "build_optimizers", build_noted)
    monkeypatch.setattr(trainer, "choose_precision", lambda *_: "bf16")
    monkeypatch.setattr(trainer, "choose_products", lambda _: "bf16")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, steps=4, optimizer="muon", before=stop_at(2))
    monkeypatch.setattr(trainer, "choose_precision", lambda *_: "no")
    monkeypatch.setattr(trainer, "choose_products", lambda _: "no")
    result = run(tmp_path, steps=4, optimizer="muon")
    assert result.resumed_at and result.precision == "bf16" and used == ["bf16", "bf16"]
