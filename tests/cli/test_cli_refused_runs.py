"""Output folders, options and disks that a run does not fit: one sentence, and nothing is lost."""

import json
import resource

import pytest

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.models import build_model


@pytest.mark.parametrize("name", ["notes.txt", "run.json", "holiday"])
def test_an_output_folder_that_holds_something_else(refused, train, pets, tmp_path, name):
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_text("mine")
    told = refused(*train(pets))
    if name == "run.json":
        assert told == f"{run} contains a run of version 0.1, which this version cannot resume: choose another folder"
    else:
        assert told == f"{run} contains {name}, which is not part of a run: choose another output folder"
    assert [path.name for path in run.iterdir()] == [name]


def test_an_output_folder_with_another_checkpoint(refused, train, pets, tmp_path):

    run = save_checkpoint(build_model("crate_micro_patch4_32", num_classes=2), tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    assert refused(*train(pets)) == f"{run} contains a checkpoint that is not from a run: choose another output folder"
    config = json.loads((run / "config.json").read_text())
    for metadata in ({"experiment": 3}, {"experiment": {}}, {"experiment": {}, "metrics": {"seconds": "x"}}):
        (run / "config.json").write_text(json.dumps({**config, "metadata": metadata}))
        assert refused(*train(pets)).startswith(f"the metadata in {run}/config.json is not valid")
    assert (run / "model.safetensors").read_bytes() == before


def test_a_masked_autoencoder_is_not_taught_classes(refused, pets, tmp_path):
    told = refused("train", "--data", pets, "--output", tmp_path / "run", "--model", "crate_mae_small_patch16_224")
    assert told.startswith("crate_mae_small_patch16_224 is a masked autoencoder, but this task trains on classes")


def test_an_unfinished_run_with_other_settings(refused, crate, train, pets, tmp_path, monkeypatch):
    from crate_transformer.recipes import run as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        assert refused(*train(pets)) == "no space"
    told = refused(*train(pets, "--learning-rate", "0.1"))
    assert told.startswith(f"{tmp_path}/run holds an unfinished run with other settings (learning_rate): repeat")
    assert crate(*train(pets)).code == 0
    told = refused(*train(pets, "--learning-rate", "0.1"))
    assert told.startswith(f"{tmp_path}/run contains a finished run with other settings (learning_rate): repeat")


def test_a_run_is_replaced_only_when_asked(crate, refused, train, pets, tmp_path, monkeypatch):
    from crate_transformer.recipes import run as module

    run = tmp_path / "run"
    assert crate(*train(pets)).code == 0
    other = train(pets, "--learning-rate", "0.01")
    assert refused(*other).endswith("or replace it with --overwrite")
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        assert refused(*other, "--overwrite") == "no space"
    assert [path.name for path in run.glob("state-*")] and not (run / "config.json").exists()
    assert refused(*train(pets)).endswith("or replace it with --overwrite")
    ran = crate(*other, "--overwrite")  # goes on with what is there
    assert ran.code == 0 and load_checkpoint(run).provenance.metadata["metrics"]["resumed_at"] > 0
    assert "already finished" in crate(*other, "--overwrite").out
    told = refused(*other, "--overwrite", "--start-from", run)
    assert told == f"overwrite would remove {run}, which start_from needs: choose another output folder"


def test_overwrite_keeps_a_run_until_the_new_one_has_been_checked(crate, refused, train, pets, tmp_path, monkeypatch):
    """The faults are found in the settings, the model, the trainer and the loader."""
    from crate_transformer.recipes import run as module

    def faults_change_nothing():
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        distilled = ("--task", "distillation", "--teacher", run)
        for fault in (distilled, ("--patch-size", "7"), ("--precision", "fp16"), ("--accumulate", "3")):
            told = refused(*train(pets, *fault), "--learning-rate", "0.01", "--overwrite")
            assert fault is not distilled or told == (
                f"overwrite would remove {run}, which teacher needs: choose another output folder"
            )
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        assert refused(*train(pets)) == "no space"
    faults_change_nothing()
    assert crate(*train(pets)).code == 0
    faults_change_nothing()


def test_a_figure_that_cannot_be_drawn_does_not_cost_the_result(crate, refused, train, pets, monkeypatch):
    from crate_transformer.recipes import run as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "figures", lambda *_: (_ for _ in ()).throw(OSError("no fonts")))
        assert refused(*train(pets)) == "no fonts"
    assert "already finished" in crate(*train(pets)).out


@pytest.mark.parametrize("limit", [50, 300_000, 1_500_000])
def test_a_full_disk(refused, crate, train, pets, tmp_path, limit):
    """Writing stops at the record, in the weights, or in the optimiser's part of the state."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        told = refused(*train(pets, "--optimizer", "adamw"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / "run") in told and ("could not be saved" in told or "be written" in told)
    assert {path.name for path in (tmp_path / "run").glob("*")} <= {"metrics.jsonl"}
    assert crate(*train(pets, "--optimizer", "adamw")).code == 0
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "fp16"), "precision is fp16, which needs a GPU"),
        (("--sharding", "fsdp"), "sharding is fsdp in one process"),
        (("--batch-size", "5", "--accumulate", "2"), "batch_size is 5: it must be a positive multiple"),
        (("--task", "simdino", "--local-size", "3"), "local_size is 3: give a multiple of the patch"),
        (("--task", "simdino", "--accumulate", "2"), "accumulate is 2: this objective looks at all pictures"),
        (("--task", "distillation", "--teacher", "nothing"), "nothing"),
    ],
)
def test_what_is_refused_leaves_no_folder(refused, train, pets, tmp_path, options, words):
    command = [*train(pets, *options), "--output", tmp_path / "new" / "run"]
    assert words in refused(*command)
    assert not (tmp_path / "new").exists()


def test_a_loss_that_explodes(refused, train, pets):
    told = refused(*train(pets, "--optimizer", "adamw", "--learning-rate", "1e30", "--precision", "float32"))
    assert told.startswith("the loss is ") and "run it again with a lower learning rate than 1e+30" in told
