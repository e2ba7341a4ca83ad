"""Bad input ends in one sentence on standard error and code 2, or in a warning where work goes on."""

import json
import logging
import os
import pickle
import shutil

import pytest
import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.models import build_model


def test_folders_of_pictures(refused, train, trained, make_pictures, tmp_path, draw):
    (tmp_path / "empty").mkdir()
    make_pictures("gap", cat=3, dog=3)
    (tmp_path / "gap" / "eel").mkdir()
    make_pictures("lonely", cat=4)
    draw(tmp_path / "flat" / "1.png")
    (tmp_path / "file").write_text("no zip")
    make_pictures("scarce", cat=3, dog=1)
    for name, words in {
        "missing": "missing does not exist",
        "empty": "empty contains no images",
        "gap": "no images of class 'eel'",
        "lonely": "has the single class 'cat': a classifier needs at least two",
        "flat": "contains images but no sub-folders",
        "file": "file is neither a folder nor a readable zip file",
        "scarce": "class 'dog' of",
    }.items():
        data = tmp_path / name
        assert words in (told := refused(*train(data))) and str(data) in told
        if name != "scarce":
            assert refused("evaluate", trained, "--data", data) == told
    assert refused("classify", tmp_path / "empty", "--checkpoint", trained).endswith(".gif)")
    assert refused("classify", tmp_path / "no.jpg", "--checkpoint", trained) == f"{tmp_path}/no.jpg does not exist"
    assert refused("classify", "--checkpoint", trained) == "give at least one image or folder of images"
    assert not (tmp_path / "run").exists()


def spoil(file, kind):
    if kind == "text":
        file.write_text("this is no picture\n" * 20)
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize("kind", ["text", "empty", "truncated"])
def test_one_broken_picture_is_named_and_skipped(crate, train, pets, trained, caplog, kind):
    broken = pets / "cat" / "1.jpg"
    shutil.copy(pets / "cat" / "0.png", broken)
    spoil(broken, kind)
    with caplog.at_level(logging.WARNING, "crate_transformer"):
        assert crate(*train(pets)).code == 0
        assert f"skipped: {broken} is not a readable image" in caplog.text
        caplog.clear()
        ran = crate("evaluate", trained, "--data", pets)
        assert ran.code == 0 and json.loads(ran.out)["count"] == 12
        assert caplog.text.count(str(broken)) == 1


def test_more_than_a_percent_broken_is_an_error(refused, train, pets, trained):
    for name in ("cat/1.png", "dog/2.png"):
        spoil(pets / name, "text")
    for told in (refused(*train(pets)), refused("evaluate", trained, "--data", pets)):
        assert "2 of the 1" in told and "are unreadable, more than 1%" in told and "cat/1.png" in told


@pytest.mark.parametrize("kind", ["text", "empty", "truncated"])
def test_a_broken_picture_cannot_be_classified(refused, trained, picture, kind):
    spoil(picture, kind)
    assert refused("classify", picture, "--checkpoint", trained).startswith(f"{picture} is not a readable image")


class Evil:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_checkpoints(refused, crate, trained, picture, pets, tmp_path):
    def copy(name, change=None):
        folder = tmp_path / name
        shutil.copytree(trained, folder)
        if change:
            config = json.loads((folder / "config.json").read_text())
            change(config)
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    cut = copy("cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    half = tmp_path / "half.pth"
    torch.save(build_model("crate_micro_patch4_32").state_dict(), half)
    half.write_bytes(half.read_bytes()[:100_000])
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "folder").mkdir()
    torch.save({"state_dict": {"conv1.weight": torch.ones(3)}}, tmp_path / "resnet.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "executed")}))
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"model": Evil(tmp_path / "executed")}, protocol=2))
    torch.save({"state_dict": Evil(tmp_path / "executed")}, tmp_path / "evil.pth.tar")
    family = copy("family", lambda config: config.update(family="ResNet"))
    classes = copy("classes", lambda config: config["config"].update(num_classes=7))
    garbled = copy("garbled")
    (garbled / "config.json").write_text("{")
    for name, words in {
        "cut": "model.safetensors is damaged",
        "half.pth": "half.pth is not a readable checkpoint: truncated",
        "text.pth": "not a readable checkpoint",
        "empty.pth": "is empty (0 bytes)",
        "folder": "is not a checkpoint: it has no config.json",
        "resnet.pth": "has an unknown format",
        "evil.pth": "is not a readable checkpoint",
        "evil.pt": "is refused: it contains",
        "evil.pth.tar": "is refused: it contains",
        "family": "has the unknown model family 'ResNet'; known families",
        "classes": "num_classes",
        "garbled": "config.json is not readable JSON",
        "missing": "is not a file, folder",
    }.items():
        path = tmp_path / name
        told = refused("classify", picture, "--checkpoint", path)
        assert words in told and str(path) in told, name
        assert refused("evaluate", path, "--data", pets) == told
        more = ("--start-from", path, "--steps", "1", "--output", tmp_path / "run")
        assert refused("train", "--data", pets, *more) == told
    assert {family.name, classes.name} and not (tmp_path / "executed").exists()
    assert not (tmp_path / "run").exists()


def test_data_and_checkpoint_of_different_classes(crate, refused, trained, make_pictures, tmp_path):
    birds = make_pictures("birds", cat=2, dog=2, robin=2)
    told = refused("evaluate", trained, "--data", birds)
    assert told == f"{birds} has unknown classes: robin"
    nameless = tmp_path / "nameless"
    shutil.copytree(trained, nameless)
    config = json.loads((nameless / "config.json").read_text())
    (nameless / "config.json").write_text(json.dumps({**config, "class_names": None}))
    without = (
        f"{nameless} has 2 classes without names, so they cannot be matched with the folders: give the names in "
        "order with --class-names FILE"
    )
    pets = trained.parent / "pets"
    assert refused("evaluate", nameless, "--data", birds) == refused("evaluate", nameless, "--data", pets) == without
    names = tmp_path / "names.txt"
    for content in ("cat\n", "cat\ncat\n", "cat\ndog\nrobin\n"):
        names.write_text(content)
        told = refused("evaluate", nameless, "--data", pets, "--class-names", names)
        assert told.startswith(f"{names} contains ") and "give one name for each, in order" in told
    names.write_bytes(b"cat\n\xff\n")
    assert "is not UTF-8 text" in refused("evaluate", nameless, "--data", pets, "--class-names", names)
    names.write_text("dog\ncat\n")
    assert "already contains class names" in refused("evaluate", trained, "--data", pets, "--class-names", names)
    (tmp_path / "names.json").write_text('["cat", "dog"]')
    scores = [
        json.loads(crate("evaluate", *checkpoint, "--data", pets).out)["top1"]
        for checkpoint in (
            (trained,),
            (nameless, "--class-names", tmp_path / "names.json"),
            (nameless, "--class-names", names),
        )
    ]
    assert scores[0] == scores[1] == pytest.approx(1 - scores[2])
    (tmp_path / "names.json").write_text('["cat", 3]')
    told = refused("evaluate", nameless, "--data", pets, "--class-names", tmp_path / "names.json")
    assert told.startswith(f"{tmp_path}/names.json is not valid")


def test_a_split_that_a_stranger_wrote(refused, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    for split in (3, [], {"how": "x"}, {"how": "x", "divided_here": True, "held_out": [1]}):
        config["metadata"]["split"] = split
        (copy / "config.json").write_text(json.dumps(config))
        told = refused("evaluate", copy, "--data", trained.parent / "pets")
        assert told.startswith(f"the metadata of {copy} is not valid")


def test_a_model_without_a_classifier_cannot_classify(refused, picture, pets, tmp_path):

    folder = save_checkpoint(build_model("crate_micro_patch4_32", num_classes=0), tmp_path / "headless")
    told = refused("classify", picture, "--checkpoint", folder)
    assert told == refused("evaluate", folder, "--data", pets) == f"{folder} has no classifier: num_classes is 0"


def test_options_that_do_not_go_together(refused, train, trained, pets, picture, tmp_path, small):
    assert refused(*train(pets, "--img-size", "2")) == "img_size 2 is smaller than one patch of 4 x 4 pixels"
    assert refused(*train(pets, "--img-size", "10")) == "img_size 10 is not a multiple of patch_size 4"
    assert "did you mean crate_mini_patch8_64" in refused(*train(pets, "--model", "craet_mini"))
    assert refused(*train(pets, "--recipe", "cifar100")).startswith("there is no recipe 'cifar100'")
    assert refused("classify", picture, "--top", "0") == "--top is 0: it must be at least 1"
    assert refused("evaluate", trained, "--data", pets, "--batch-size", "0").startswith("batch_size is 0")
    assert refused("models", "zzz") == "no model matches 'zzz': 'crate models' lists all models"
    (tmp_path / "taken").write_text("mine")
    assert refused("train", "--data", pets, "--output", tmp_path / "taken", "--steps", "1", *small) == (
        f"{tmp_path}/taken is not a folder: choose another output folder"
    )
    assert f"{tmp_path}/taken" in refused(
        "evaluate", trained, "--data", pets, "--output", tmp_path / "taken" / "x.json"
    )


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        (("--segmentation", "pets"), ("--report", "r")),
        (("--segmentation", "pets"), ("--batch-size", "7")),
        (("--parts", "pets"), ("--layer", "2")),
        (("--parts", "pets"), ("--class-names", "names.txt")),
        (("--data", "pets", "--boxes", "b.json"), ("--maskcut-size", "0")),
        (("--data", "pets", "--boxes", "b.json"), ("--real", "real.json")),
        (("--data", "pets"), ("--size", "32")),
        (("--data", "pets"), ("--seed", "1")),
    ],
)
def test_options_of_an_evaluation_are_never_ignored(refused, trained, given, ignored):
    told = refused("evaluate", trained, *given, *ignored)
    assert told.startswith(f"{ignored[0]} would be ignored: ")


def test_an_evaluation_of_masks_needs_another_name_for_its_numbers_than_for_its_page(refused, trained, pets):
    told = refused("evaluate", trained, "--segmentation", pets, "--output", "o.html")
    assert told == "--output is o.html: give a JSON file, a page is written beside it"
    assert "leave --tokenizer out" in refused("evaluate", trained, "--data", pets, "--tokenizer", "bytes")


def test_hints_are_told_as_options(crate, refused, pets, tmp_path):
    model = build_model("crate_micro_patch4_32", embed_dim=24, num_heads=2, depth=1, img_size=16, num_classes=2)
    ours = save_checkpoint(model, tmp_path / "ours")
    assert crate("convert", ours, tmp_path / "official.pt", "--to", "official").code == 0
    told = refused("evaluate", tmp_path / "official.pt", "--data", pets)
    assert "give --num-heads" in told and "num_heads" not in told
