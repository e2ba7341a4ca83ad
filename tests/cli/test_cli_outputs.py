"""Results in a folder: the same command again, other commands, and what is not of this package."""

import json
import os
from pathlib import Path

import pytest

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.cli.outputs import check_source
from crate_transformer.models import build_model
from crate_transformer.storage import write_json

SMALL = ("--size", "32")  # 8 x 8 patches; MaskCut takes 60 x 60 unless told otherwise


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    sizes = {"img_size": 16, "depth": 1, "num_heads": 2, "num_classes": 2}
    return [save_checkpoint(build_model("crate_micro_patch4_32", **sizes), folder / name) for name in "ab"]


@pytest.fixture
def pictures(draw, tmp_path) -> Path:
    for seed, name in enumerate(("1.png", "1.jpg", "x/1.png", "y/1.png")):
        draw(tmp_path / "pictures" / name, seed=seed)
    return tmp_path / "pictures"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def times(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*/*")}


def test_equal_names_are_kept_apart(crate, checkpoints, pictures, tmp_path):
    output = tmp_path / "out"
    assert crate("segment", pictures, "--checkpoint", checkpoints[0], "--output", output, *SMALL).code == 0
    results = json.loads((output / "results.json").read_text())["pictures"]
    assert [entry["image_id"] for entry in results] == [0, 1, 2, 3]
    assert len({entry["masks"] for entry in results}) == 4
    found = json.loads((output / "coco_results.json").read_text())
    assert sum(entry["objects"] for entry in results) == len(found) > 0


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("7.png", "10.png"), [10, 7]),
        (("007.png", "7.png"), [0, 1]),
        (("7.png", f"{2**53}.png"), [0, 1]),
        (("7.png", "a.png"), [0, 1]),
    ],
)
def test_numbers_of_coco_are_names_only_where_they_stay_different(crate, checkpoints, draw, tmp_path, names, ids):
    for name in names:
        draw(tmp_path / "pictures" / name)
    output = tmp_path / "out"
    command = ("segment", tmp_path / "pictures", "--checkpoint", checkpoints[0], "--output", output)
    assert crate(*command, *SMALL).code == 0
    assert [entry["image_id"] for entry in json.loads((output / "results.json").read_text())["pictures"]] == ids


def test_segment_again_keeps_what_is_finished_and_renews_what_has_changed(crate, checkpoints, pictures, draw, tmp_path):
    output = tmp_path / "out"
    command = ("segment", pictures, "--checkpoint", checkpoints[0], "--output", output, *SMALL)
    first = crate(*command)
    made, before = contents(output), times(output)
    assert crate(*command) == first and contents(output) == made and times(output) == before

    draw(pictures / "x" / "1.png", seed=9)
    (output / "objects" / "0000-1.json").write_text('{"image": 3}')
    (output / "results.json").unlink()
    assert crate(*command).code == 0
    renewed = {name for name, when in times(output).items() if before[name] != when}
    assert renewed == {f"{number:04d}-1.{suffix}" for number in (0, 2) for suffix in ("json", "png")}
    assert contents(output).keys() == made.keys()
    assert contents(output)["masks/0000-1.png"] == made["masks/0000-1.png"]


@pytest.mark.parametrize("command", ["segment", "inspect"])
def test_results_of_another_run_are_replaced_only_when_told(crate, refused, checkpoints, pictures, tmp_path, command):
    output = tmp_path / "out"
    first = (command, pictures, "--checkpoint", checkpoints[0], *SMALL, "--output", output)
    assert crate(*first).code == 0
    before = contents(output)
    one = (command, pictures / "x", "--checkpoint", checkpoints[0], *SMALL, "--output", output)
    other = "inspect" if command == "segment" else "segment"
    for changed, what in (
        (one, "(pictures):"),
        ((command, pictures, "--checkpoint", checkpoints[1], *SMALL, "--output", output), "(checkpoint):"),
        ((command, pictures, "--checkpoint", checkpoints[0], "--size", "20", "--output", output), "(size):"),
        ((other, *first[1:]), "(command"),
    ):
        told = refused(*changed)
        another = f"{output} contains the results of another run"
        assert told.startswith(f"{another}, made with different settings {what}"), told
        assert told.endswith("choose another --output, or replace them with --overwrite")
        assert contents(output) == before
    notes = output / ("masks/notes.png" if command == "segment" else "notes.png")
    notes.write_text("mine")
    assert crate(*one, "--overwrite").code == 0
    after = contents(output)
    assert after.pop(str(notes.relative_to(output))) == b"mine"
    fresh = tmp_path / "fresh"
    assert crate(*one[:-1], fresh).code == 0
    assert after.keys() == contents(fresh).keys()
    assert all(after[name] == content for name, content in contents(fresh).items())


@pytest.mark.parametrize("command", ["segment", "inspect"])
def test_folders_that_are_not_of_this_command(crate, refused, checkpoints, pictures, tmp_path, command):
    output = tmp_path / "data"
    taken = output / ("masks" if command == "segment" else "results.json")
    taken.mkdir(parents=True)
    options = (command, pictures, "--checkpoint", checkpoints[0], *SMALL, "--output")
    assert f"{output} contains the results of another run, such as {taken.name}" in refused(*options, output)
    assert "results would be written among the images" in refused(*options, pictures)
    assert not (pictures / "crate_run.json").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    assert crate(*options, tmp_path / "other").code == 0
    assert (tmp_path / "other" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("command", ["inspect", "segment"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "model.safetensors"])
def test_the_folder_of_a_training_is_left_alone(refused, checkpoints, pictures, tmp_path, command, name):
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_bytes(b"")
    told = refused(command, pictures, "--checkpoint", checkpoints[0], "--output", run, "--overwrite")
    assert told == f"{run} contains a training run or a checkpoint: choose another --output"
    assert contents(run) == {name: b""}


def test_results_among_the_pictures_are_no_pictures(crate, checkpoints, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    for command in ("segment", "inspect", "segment", "inspect"):
        ran = crate(command, ".", "--checkpoint", checkpoints[0], *SMALL)
        assert ran.code == 0, ran.err
        assert len(json.loads(Path("runs", command, "results.json").read_text())["pictures"]) == 4
        if command == "segment":
            Path("runs/segment/results.json").unlink()
            Path("runs/segment/coco_results.json").unlink()


@pytest.mark.figures
def test_a_long_name_is_cut(crate, checkpoints, draw, tmp_path):
    picture = draw(tmp_path / ("猫" * 80 + "$.png"))
    assert len(os.fsencode(picture.name)) > 240
    for command in ("segment", "inspect"):
        ran = crate(command, picture, "--checkpoint", checkpoints[0], *SMALL, "--output", tmp_path / command)
        assert ran.code == 0, ran.err


def test_settings_with_many_digits_are_recognised(tmp_path):
    file, settings = tmp_path / "results.json", {"step_size": 0.12345678, "labels": None}
    write_json(file, {"settings": settings})
    check_source([file], file, settings, "settings")
    for other in (settings | {"step_size": 0.1235}, settings | {"limit": None}):
        with pytest.raises(ValueError, match="was made from something else"):
            check_source([file], file, other, "settings")
