"""Objectives other than classification, from the command line."""

import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import preprocess

pytestmark = pytest.mark.usefixtures("unchecked")
MAE = ("--task", "mae", "--model", "crate_mae_micro_patch4_32", "--img-size", "8", "--batch-size", "4")
FEW = ("--steps", "3", "--warmup-steps", "1")


@pytest.fixture
def flat(tmp_path, draw):
    for seed in range(12):
        draw(tmp_path / "flat" / f"{seed}.png", seed=seed)
    return tmp_path / "flat"


def numbers(run):
    return json.loads((run / "config.json").read_text())["metadata"]["metrics"]


@pytest.mark.figures
def test_mae_on_pictures_without_classes(crate, flat, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "--data", flat, "--output", run, *MAE, *FEW)
    ran = crate(*arguments)
    assert ran.code == 0, ran
    assert "10% of" in ran.out and "11 training and 1 held-out images" in ran.out
    assert "squared error of hidden patches" in ran.out and "nearest" not in ran.out
    report = {"metrics.csv", "curves.png", "report.html"}
    files = {"config.json", "metrics.jsonl", "model.safetensors", "reconstructions.png", *report}
    assert {path.name for path in run.iterdir()} == files
    assert np.asarray(Image.open(run / "reconstructions.png")).std() > 0
    assert not any(name.startswith("knn") for name in numbers(run))
    assert "already finished" in crate(*arguments).out


def test_mae_on_pictures_with_classes(crate, pets, tmp_path):
    run = tmp_path / "run"
    ran = crate("train", "--data", pets, "--output", run, *MAE, *FEW, "--normalise-pixels")
    assert ran.code == 0, ran
    assert "20 nearest neighbours top-1" in ran.out and "(untrained " in ran.out
    assert {"knn_model", "knn_untrained", "knn_pixels", "held_out_loss"} <= numbers(run).keys()
    model = load_checkpoint(run)
    assert model.config.normalise_pixels and model.num_classes == 0 and model.class_names is None
    tuned = crate("train", "--data", pets, "--output", tmp_path / "tuned", "--start-from", run, *FEW)
    assert tuned.code == 0 and load_checkpoint(tmp_path / "tuned").class_names == ("cat", "dog")
    again = crate("train", "--data", pets, "--output", tmp_path / "more", "--task", "mae", "--start-from", run, *FEW)
    assert again.code == 0 and load_checkpoint(tmp_path / "more").config.normalise_pixels


def test_what_cannot_fill_in_or_has_no_classes(refused, flat, pets, tmp_path):
    output = ("--output", tmp_path / "run", *FEW)
    told = refused("train", "--data", pets, *output, "--task", "mae", "--model", "crate_micro_patch4_32")
    assert told == "crate_micro_patch4_32 has no decoder for masked patches: choose a crate_mae model"
    assert refused("train", "--data", flat, *output).startswith(f"{flat} contains images but no sub-folders: sort the")


def test_simdino(crate, pets, flat, tmp_path):
    small = ("--task", "simdino", "--model", "crate_micro_patch4_32", "--img-size", "16", "--batch-size", "4", *FEW)
    ran = crate("train", "--data", pets, "--output", tmp_path / "run", *small, "--hidden-dim", "16", "--local-crops", 2)
    assert ran.code == 0 and "20 nearest neighbours top-1" in ran.out, ran
    model = load_checkpoint(tmp_path / "run")
    assert model.num_classes == 0 and {"knn_model", "held_out_loss"} <= numbers(tmp_path / "run").keys()
    nameless = crate("train", "--data", flat, "--output", tmp_path / "flat-run", *small, "--hidden-dim", "16")
    assert nameless.code == 0 and "held-out loss" in nameless.out and "nearest" not in nameless.out
    tuned = crate("train", "--data", pets, "--output", tmp_path / "tuned", "--start-from", tmp_path / "run", *FEW)
    assert tuned.code == 0 and load_checkpoint(tmp_path / "tuned").class_names == ("cat", "dog")
    begun = ("--start-from", tmp_path / "tuned", "--task", "simdino", "--hidden-dim", "16", *FEW)
    assert crate("train", "--data", flat, "--output", tmp_path / "more", *begun).code == 0


def test_distillation(crate, refused, trained, pets, make_pictures, tmp_path):
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", *FEW)
    arguments = ("train", "--data", pets, "--task", "distillation", *small)
    ran = crate(*arguments, "--teacher", trained, "--output", tmp_path / "run", "--mixup", "0.2")
    assert ran.code == 0 and "top-1" in ran.out, ran
    assert load_checkpoint(tmp_path / "run").class_names == ("cat", "dog")
    assert (
        "already finished"
        in crate(*arguments, "--teacher", trained, "--output", tmp_path / "run", "--mixup", "0.2").out
    )
    others = ("train", "--data", make_pictures("farm", cow=4, horse=4), "--task", "distillation", *small)
    told = refused(*others, "--teacher", trained, "--output", tmp_path / "other")
    assert told == f"the data for the teacher {trained} has unknown classes: cow, horse"


def pack(folder, file):
    with tarfile.open(file, "w") as archive:
        archive.add(folder, arcname=folder.name)
    return file


def test_tar_files(crate, pets, flat, tmp_path):
    run, tar = tmp_path / "run", pack(pets, tmp_path / "pets.tar")
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", *FEW)
    trained = crate("train", "--data", tar, "--output", run, *small)
    assert trained.code == 0 and "10 training and 2 held-out images, 2 classes" in trained.out, trained
    measured = crate("evaluate", run, "--data", tar)
    assert measured.code == 0 and f"2 of the 12 images of {tar}" in measured.out, measured
    assert crate("evaluate", run, "--data", pets).out.count("2 of the 12 images") == 1  # the same ones as files
    filled = crate("train", "--data", pack(flat, tmp_path / "flat.tar"), "--output", tmp_path / "mae", *MAE, *FEW)
    assert filled.code == 0 and "11 training and 1 held-out images, no classes" in filled.out, filled


@pytest.mark.filterwarnings("ignore")  # of this library
def test_data_sets_of_hugging_face(crate, pets, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = sorted(pets.rglob("*.png"))
    pictures = [{"bytes": file.read_bytes(), "path": None} for file in files]
    columns = {"image": pictures, "label": [int(file.parent.name == "dog") for file in files]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "set")
    run = tmp_path / "run"
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", *FEW)
    assert crate("train", "--data", tmp_path / "set", "--output", run, *small).code == 0
    measured = crate("evaluate", run, "--data", tmp_path / "set")
    assert measured.code == 0 and "2 of the 12 images" in measured.out, measured


def test_several_classes_a_picture(crate, refused, flat, pets, tmp_path):
    rows = [f"{number}.png,{('cat', 'dog', 'cat;dog', '')[number % 4]}" for number in range(12)]
    for part, kept in (("train", rows[:8]), ("val", rows[8:])):
        (flat / part).mkdir()
        (flat / part / "labels.csv").write_text("\n".join(kept))
        for row in kept:
            (flat / row.partition(",")[0]).rename(flat / part / row.partition(",")[0])
    run = tmp_path / "run"
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", *FEW)
    ran = crate("train", "--data", flat, "--output", run, *small)
    assert ran.code == 0 and "mean average precision" in ran.out, ran
    assert load_checkpoint(run).class_names == ("cat", "dog") and "mean_average_precision" in numbers(run)
    assert "already finished" in crate("train", "--data", flat, "--output", run, *small).out
    measured = crate("evaluate", run, "--data", flat)
    assert measured.code == 0 and json.loads(measured.out)["classes"] == 2, measured
    told = refused("evaluate", run, "--data", flat, "--report", tmp_path / "report")
    assert told == f"{flat} has several classes per image: leave --report and --real out"
    measured = crate("evaluate", run, "--data", pets)  # whose pictures have one class each
    assert measured.code == 0 and json.loads(measured.out)["count"] == 12, measured
    named = crate("classify", flat / "val" / "8.png", "--checkpoint", run, "--json")
    trained = load_checkpoint(run)
    with Image.open(flat / "val" / "8.png") as picture, torch.no_grad():
        expected = trained(preprocess(picture, trained.preprocessing)[None]).sigmoid()[0]
    found = {top["class"]: top["probability"] for top in json.loads(named.out)[0]["top"]}
    assert found == pytest.approx(dict(zip(("cat", "dog"), expected.tolist(), strict=True)), abs=1e-4)
    told = refused("train", "--data", flat, "--output", tmp_path / "other", *small, "--balanced")
    assert told == f"balanced needs one class per image, which {flat} does not have"


def test_balanced(crate, make_pictures, tmp_path):
    few = make_pictures("few", cat=20, dog=3)
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", *FEW)
    assert crate("train", "--data", few, "--output", tmp_path / "run", *small, "--balanced").code == 0
