"""The commands on good input."""

import json
import shutil
from pathlib import Path
from unicodedata import normalize

import pytest
import torch

from crate_transformer.checkpoints import list_pretrained, load_checkpoint
from crate_transformer.cli import train
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.data import open_split
from crate_transformer.models import list_models
from crate_transformer.recipes import registry
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import CIFAR10, Recipe


def test_models_as_a_table_that_fits(crate):
    ran = crate("models")
    assert ran.code == 0
    assert all(name in ran.out for name in list_models())
    assert all(count in ran.out for count in ("6,090,856", "13,116,328", "22,796,008", "77,641,192"))
    assert max(map(len, ran.out.splitlines())) <= 80
    assert set(list_pretrained()) <= set(ran.out.splitlines())


def test_models_as_json(crate):
    rows = json.loads(crate("models", "crate_*_patch16_*", "--json").out)
    assert [row["name"] for row in rows] == list_models("crate_*_patch16_*")
    (tiny,) = (row for row in rows if row["name"] == "crate_tiny_patch16_224")
    assert tiny == {
        "name": "crate_tiny_patch16_224",
        "image": 224,
        "patch": 16,
        "width": 384,
        "depth": 12,
        "heads": 6,
        "classes": 1000,
        "parameters": 6_090_856,
        "weights": [],
    }


def test_train_evaluate_classify(crate, refused, pets, picture, tmp_path, small):
    output = tmp_path / "run"
    ran = crate("train", "--data", pets, "--output", output, "--steps", "3", *small)
    assert ran.code == 0
    assert "10 training and 2 held-out images, 2 classes" in ran.out and f"saved in {output}" in ran.out
    report = {"metrics.csv", "curves.png", "report.html"}
    assert {path.name for path in output.iterdir()} == {"config.json", "metrics.jsonl", "model.safetensors", *report}
    assert "95% interval" in (output / "report.html").read_text()
    model = load_checkpoint(output)
    split = model.provenance.metadata["split"]
    assert split["divided_here"] and split["held_out"] == sorted(open_split(pets).val.keys())
    assert "warning: 3 steps are too few to learn anything useful" in ran.out
    assert model.class_names == ("cat", "dog") and model.img_size == (8, 8)
    assert not model.provenance.hints

    ran = crate("evaluate", output, "--data", pets, "--output", tmp_path / "score.json")
    score = json.loads(ran.out)
    stored = json.loads((tmp_path / "score.json").read_text())
    assert ran.code == 0 and stored == score | {"settings": stored["settings"]}
    assert score["images_used"] == f"2 of the 12 images of {pets}, which training held out"
    assert score["warning"] is None and len(score["images_digest"]) == 16
    assert score["count"] == 2 and 0 <= score["top1"] <= score["top5"] == 1
    again = ("evaluate", output, "--data", pets, "--output")
    assert crate(*again, tmp_path / "score.json").code == 0
    config = (output / "config.json").read_bytes()
    assert "made from something else: choose another output, or replace it with --overwrite" in refused(
        *again, output / "config.json"
    )
    assert (output / "config.json").read_bytes() == config
    (tmp_path / "score.json").write_text("[]")
    assert json.loads(crate(*again, tmp_path / "score.json", "--overwrite").out) == score
    assert json.loads((tmp_path / "score.json").read_text()) == stored

    ran = crate("classify", picture, pets / "cat", "--checkpoint", output, "--json")
    results = json.loads(ran.out)
    assert [result["image"] for result in results] == [
        str(picture),
        *(str(pets / "cat" / f"{i}.png") for i in range(6)),
    ]
    for result in results:
        assert {entry["class"] for entry in result["top"]} == {"cat", "dog"}
        first, second = (entry["probability"] for entry in result["top"])
        assert first >= second and first + second == pytest.approx(1, abs=1e-5)  # six digits each

    ran = crate("classify", picture, "--checkpoint", output, "--top", "1")
    assert ran.code == 0 and ran.out.splitlines()[0] == str(picture)
    assert f"{results[0]['top'][0]['probability']:.1%}" in ran.out and ran.out.count("%") == 1


def test_what_evaluate_measures(crate, trained, make_pictures, tmp_path, monkeypatch, caplog):
    def evaluate(data, checkpoint=trained):
        caplog.clear()
        score = json.loads(crate("evaluate", checkpoint, "--data", data).out)
        assert caplog.text.count("WARNING") == (score["warning"] is not None) == bool(score["warning"])
        return score

    own, other = trained.parent / "pets", make_pictures("other", cat=2, dog=3)
    score = evaluate(own)
    assert score["count"] == 2 and score["warning"] is None
    monkeypatch.chdir(trained)
    moved = shutil.copytree(own, tmp_path / "a" / "moved").parent
    shutil.make_archive(tmp_path / "packed", "zip", own.parent, "pets")
    for path, checkpoint in (
        ("../pets", "."),
        (own, trained / "model.safetensors"),
        (moved, "."),
        (f"{moved}/moved", "."),
    ):
        again = evaluate(path, checkpoint)
        assert {**again, "checkpoint": 0, "data": 0, "images_used": 0} == {
            **score,
            "checkpoint": 0,
            "data": 0,
            "images_used": 0,
        }
    packed = evaluate(tmp_path / "packed.zip")
    assert (packed["count"], packed["images_digest"]) == (2, score["images_digest"])

    unknown = "none of these images is known to have been held out: training may have used them"
    score = evaluate(other)
    assert (score["count"], score["images_used"], score["warning"]) == (5, f"all 5 images of {other}", unknown)
    for part in ("train", "val"):
        shutil.copytree(other, tmp_path / "divided" / "pets" / part)
    score = evaluate(tmp_path / "divided")
    assert (score["count"], score["images_used"]) == (5, f"all 5 images of {tmp_path}/divided, folder pets/val")

    silent = shutil.copytree(trained, tmp_path / "silent")
    config = json.loads((silent / "config.json").read_text())
    del config["metadata"]["split"]
    (silent / "config.json").write_text(json.dumps(config))
    assert evaluate(own, silent)["warning"].startswith("the checkpoint does not say which images it was trained on")


def test_what_a_checkpoint_held_out_stays_held_out(crate, trained, tmp_path):
    """Fine-tuning with another seed, on data that is divided otherwise now."""
    pets, trained = trained.parent / "pets", shutil.copytree(trained, tmp_path / "trained")
    split = open_split(pets)
    fresh, earlier = set(split.val.keys()), split.train.keys()[:2]  # as if the data had been divided otherwise then
    config = json.loads((trained / "config.json").read_text())
    config["metadata"]["split"]["held_out"] = earlier
    (trained / "config.json").write_text(json.dumps(config))
    options = ("--steps", "1", "--batch-size", "4", "--seed", "5", "--start-from", trained)
    ran = crate("train", "--data", pets, "--output", tmp_path / "run", *options)
    assert ran.code == 0 and f"2 images held out by {trained} are not used for training" in ran.out
    metadata = load_checkpoint(tmp_path / "run").provenance.metadata
    assert set(metadata["split"]["held_out"]) == fresh | set(earlier)
    assert metadata["metrics"]["count"] == len(fresh) + 2
    score = json.loads(crate("evaluate", tmp_path / "run", "--data", pets).out)
    assert score["count"] == len(fresh) + 2


def test_the_same_command_does_not_train_again(crate, pets, tmp_path, monkeypatch, small):
    command = ("train", "--data", pets, "--output", tmp_path / "run", "--steps", "2", *small)
    first = crate(*command)
    from crate_transformer.recipes import run as module

    monkeypatch.setattr(module, "Trainer", lambda *_, **__: pytest.fail("trained again"))
    before = (tmp_path / "run" / "config.json").stat().st_ino
    again = crate(*command)
    counts, *_, result = first.out.splitlines()
    assert again.code == 0
    assert again.out.splitlines() == [counts, f"already finished: loaded from {tmp_path}/run", result]
    assert (tmp_path / "run" / "config.json").stat().st_ino == before


def test_a_split_on_the_disk_is_used(crate, make_pictures, draw, tmp_path, small):
    """Pictures of both parts have the same names and sizes, and differ in their content alone."""
    make_pictures("data/train", cat=3, dog=3)
    make_pictures("data/val", cat=1, dog=3)
    for number, file in enumerate(sorted((tmp_path / "data" / "val").rglob("[01].png"))):
        size = file.stat().st_size
        assert draw(file, seed=10 + number).stat().st_size == size
    ran = crate("train", "--data", tmp_path / "data", "--output", tmp_path / "run", "--steps", "1", *small)
    assert ran.code == 0 and "6 training and 4 held-out images" in ran.out
    assert not load_checkpoint(tmp_path / "run").provenance.metadata["split"]["divided_here"]
    for data, which in ((tmp_path / "data", f"{tmp_path}/data, folder val"), (tmp_path / "data" / "val",) * 2):
        score = json.loads(crate("evaluate", tmp_path / "run", "--data", data).out)
        held_out = f"3 of the 4 images of {which}, which training held out"  # dog/2.png lies in train too
        assert score["count"] == 3 and score["images_used"] == held_out
    score = json.loads(crate("evaluate", tmp_path / "run", "--data", tmp_path / "data" / "train").out)
    assert score["count"] == 6 and score["warning"].startswith("none of these images is known to have been held out")
    again = ("--output", tmp_path / "tuned", "--start-from", tmp_path / "run", "--steps", "1", "--batch-size", "4")
    ran = crate("train", "--data", tmp_path / "data", *again)
    assert ran.code == 0 and "are not used for training" not in ran.out


def test_fine_tuning(crate, trained, make_pictures, tmp_path):
    birds = make_pictures("birds", robin=3, tit=3, wren=3)
    short = ("--steps", "1", "--batch-size", "4", "--warmup-steps", "0")
    ran = crate("train", "--data", birds, "--output", tmp_path / "run", "--start-from", trained, *short)
    assert ran.code == 0 and ran.err.startswith(f"{trained} 1/1 loss")
    model, parent = load_checkpoint(tmp_path / "run"), load_checkpoint(trained)
    assert model.class_names == ("robin", "tit", "wren") and model.img_size == (8, 8)
    moved = (model.pos_embed - parent.pos_embed).abs().max()
    assert 0 < moved < 0.01


def test_the_head_of_the_same_classes_is_kept_however_they_are_written(crate, make_pictures, trained, tmp_path):
    for form in ("NFC", "NFD"):
        make_pictures(form, **{normalize(form, "é"): 4, "z": 4})
    short = ("--steps", "1", "--batch-size", "4", "--learning-rate", "1e-9", "--matrix-learning-rate", "1e-9")
    first = ("train", "--data", tmp_path / "NFC", "--output", tmp_path / "first", "--start-from", trained, *short)
    again = ("train", "--data", tmp_path / "NFD", "--output", tmp_path / "again", "--start-from", tmp_path / "first")
    assert crate(*first).code == 0 and crate(*again, *short).code == 0
    one, two = (load_checkpoint(tmp_path / name).head.weight for name in ("first", "again"))
    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.usefixtures("unchecked")  # tyro's placeholder for what is still missing is no path
def test_mean_pooling_and_a_recipe(crate, pets, tmp_path):
    options = ("--steps", "1", "--batch-size", "4", "--img-size", "8", "--global-pool", "avg")
    options += ("--crop-pct", "0.5")
    ran = crate("train", "--recipe", "cifar10_vit", "--data", pets, "--output", tmp_path / "run", *options)
    assert ran.code == 0, ran.err
    model = load_checkpoint(tmp_path / "run")
    assert type(model).__name__ == "ViT" and model.config.global_pool == "avg" and model.img_size == (8, 8)
    assert model.preprocessing.crop_pct == 0.5
    settings = model.provenance.metadata["experiment"]
    assert settings["augment"]["min_area"] == 0.5 and settings["schedule"]["steps"] == 1


def test_every_setting_of_a_recipe_is_kept(monkeypatch):
    made = Experiment(
        model="vit_micro_patch4_32",
        options={"global_pool": "avg"},
        start_from="parent",
        loop=LoopConfig(seed=7),
        crop_pct=0.9,
    )
    monkeypatch.setattr(registry, "RECIPES", {"mine": Recipe(experiment=made, data=CIFAR10)})
    monkeypatch.setattr(train.tyro, "MISSING", Path("data"))  # where types are checked, the placeholder is no path
    kind, command = train.command(["--recipe", "mine"])
    assert (command.model, command.global_pool, command.start_from) == (made.model, "avg", "parent")
    assert (command.loop, command.augment, command.crop_pct) == (made.loop, made.augment, 0.9)
    assert kind == train.Command[type(made.task)] and command.objective == made.task


def test_the_bundled_model_names_a_picture(crate, picture):
    ran = crate("classify", picture, "--json")
    ((result,),) = [json.loads(ran.out)]
    assert ran.code == 0 and len(result["top"]) == 5
    model = load_checkpoint("crate_compact_patch8_64.tiny_imagenet_100_caltech")
    assert {entry["class"] for entry in result["top"]} <= set(model.class_names)
    assert "always predict one of their 100 classes, even if none fits the image" in ran.err


def test_names_with_brackets_are_no_markup(crate, trained, tmp_path, draw):
    file = draw(tmp_path / "a[/b][red].png")
    ran = crate("classify", file, "--checkpoint", trained)
    assert ran.code == 0 and ran.out.splitlines()[0] == str(file)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 50)])
def test_a_picture_smaller_than_a_patch_is_enlarged(crate, trained, tmp_path, size, draw):
    ran = crate("classify", draw(tmp_path / "dot.png", size), "--checkpoint", trained)
    assert ran.code == 0 and "%" in ran.out


def test_other_formats(crate, trained, tmp_path):
    from PIL import Image

    files = []
    for mode, suffix in (("L", "png"), ("CMYK", "jpg"), ("RGBA", "webp"), ("P", "gif"), ("I;16", "tif")):
        files.append(tmp_path / f"{mode.replace(';', '')}.{suffix}")
        Image.new(mode, (20, 12)).save(files[-1])
    ran = crate("classify", *files, "--checkpoint", trained, "--json")
    assert ran.code == 0, ran.err
    assert len(json.loads(ran.out)) == len(files)


def test_the_global_random_state_does_not_matter(crate, pets, tmp_path, small):
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        output = tmp_path / str(seed)
        assert crate("train", "--data", pets, "--output", output, "--steps", "2", *small).code == 0
        weights.append((output / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_names_that_are_not_unicode(crate, make_pictures, draw, small):
    """A class, a picture and the folder of the data: trained, found again, resumed as finished, measured."""
    pets = make_pictures("pets", cat=6, dog=6)
    strange = pets.rename(pets.with_name("p\udcffets"))
    (strange / "dog").rename(strange / "\udcff\udcfe")
    for index in range(4):
        draw(strange / "cat" / f"\udce4{index}.png", seed=20 + index)
    output = strange.parent / "run"
    command = ("train", "--data", strange, "--output", output, "--steps", "2", *small)
    first = crate(*command)
    assert first.code == 0, first.err
    model = load_checkpoint(output)
    again = crate(*command)
    assert again.code == 0 and "already finished" in again.out
    score = json.loads(crate("evaluate", output, "--data", strange).out)
    assert score["count"] == len(model.provenance.metadata["split"]["held_out"]) == 2
    assert score["warning"] is None and score["data"] == str(strange)
    (first.out + again.out).encode()  # nothing that a terminal could not take
