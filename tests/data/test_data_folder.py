import json
import logging
import shutil

import numpy as np
import pytest

from crate_transformer.data import (
    fits_in_memory,
    open_evaluation,
    open_images,
    open_split,
    to_arrays,
)


def test_folder_and_zip_give_the_same(make_images):
    archive = open_images(make_images("pets", {"dog": 3, "cat": 2}, archive=True))
    folder = open_images(archive.root.with_suffix(""))
    assert folder.classes == archive.classes == ("cat", "dog")
    assert folder.names == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png", "dog/002.png"]
    assert archive.names == [f"pets/{name}" for name in folder.names]
    assert folder.labels == archive.labels == [0, 0, 1, 1, 1]
    assert all(folder.read(i).tobytes() == archive.read(i).tobytes() for i in range(5))
    some = archive.subset([4, 0])
    assert (len(some), some.labels, some.classes) == (2, [1, 0], archive.classes)
    assert (some.part_of, some.subset([0]).part_of, archive.part_of) == (5, 5, None)
    assert some.read(0).tobytes() == folder.read(4).tobytes()


def test_clutter_is_ignored_and_subfolders_belong_to_their_class(make_images):
    folder = make_images("pets", {"cat": 1, "dog/old": 1, "dog/young": 1, ".thumbs": 1, "__MACOSX": 1})
    (folder / "readme.txt").touch()
    (folder / "cat" / "notes.txt").touch()
    images = open_images(folder.parent / "pets")
    assert images.names == ["cat/000.png", "dog/old/000.png", "dog/young/000.png"]
    assert images.labels == [0, 1, 1]


def test_words_for_the_classes(make_images, caplog):
    folder = make_images("data", {"train/n1": 2, "train/n2": 2, "train/n3": 2, "val/n1": 1, "val/n2": 1, "val/n3": 1})
    (folder / "classes.json").write_text(json.dumps({"n1": "crane", "n2": "goldfish", "n3": "crane"}))
    assert open_images(folder / "train").classes == ("crane (n1)", "goldfish", "crane (n3)")
    assert open_split(folder).val.classes == ("crane (n1)", "goldfish", "crane (n3)")
    (folder / "classes.json").write_text('{"n1": "crane"}')
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        assert open_images(folder / "train").classes == ("n1", "n2", "n3")
    assert "classes.json is not used: it has no names for 'n2', 'n3'" in caplog.text
    for content, message in [("{", "is not readable JSON"), ('["n1"]', "Expected `object`"), ('{"n1": 1}', "`str`")]:
        (folder / "classes.json").write_text(content)
        with pytest.raises(ValueError, match=rf"classes\.json.*{message}"):
            open_images(folder / "train")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "contains no images"),
        ({"": 2}, r"contains images but no sub-folders: sort|single class 'pets'"),
        ({"cat": 2}, "single class 'cat'"),
        ({"train/a": 1, "train/b": 1, "Val/a": 1, "Val/b": 1}, "is divided into parts .train and Val of"),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_unusable_sets_are_refused(make_images, tmp_path, counts, message, archive):
    (tmp_path / "pets").mkdir()
    with pytest.raises(ValueError, match=message) as error:
        open_images(make_images("pets", counts, archive=archive))
    assert "pets" in str(error.value)


def test_missing_empty_and_no_archive(make_images, tmp_path):
    for opener in (open_images, open_split):
        with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
            opener(tmp_path / "nowhere")
        (tmp_path / "text.zip").write_text("no zip")
        with pytest.raises(ValueError, match=r"text\.zip is neither a folder nor a readable zip file"):
            opener(tmp_path / "text.zip")
    folder = make_images("pets", {"cat": 2, "dog": 2})
    (folder / "bird").mkdir()
    with pytest.raises(ValueError, match="no images of class 'bird'"):
        open_images(folder)
    with pytest.raises(ValueError, match="no images of class 'bird'"):
        open_split(folder)


@pytest.mark.parametrize("held_out", ["val", "test", "Validation"])
@pytest.mark.parametrize("layout", ["folders", "zip", "two zips"])
def test_splits_on_the_disk(make_images, tmp_path, held_out, layout):
    path = make_images(
        "data", {"train/a": 3, "train/b": 2, f"{held_out}/a": 1, f"{held_out}/b": 2}, archive=layout == "zip"
    )
    if layout == "two zips":
        for part in ("train", held_out.lower()):
            source = path / (part if part == "train" else held_out)
            shutil.make_archive(str(tmp_path / "zips" / part), "zip", root_dir=path, base_dir=source.name)
        path = tmp_path / "zips"
    split = open_split(path)
    assert (len(split.train), len(split.val)) == (5, 3)
    assert split.train.classes == split.val.classes == ("a", "b")
    assert split.val.labels == [0, 1, 1]
    assert held_out.lower() in split.how.lower() and "train" in split.how
    split.train.read(4), split.val.read(2)
    assert open_evaluation(path).names == split.val.names


@pytest.mark.parametrize(
    ("training", "held_out", "alone"),
    [
        ("train", "valid", ()),
        ("Training", "Testing", ()),
        ("train", "dev", ()),
        ("TRAIN", "Eval", ("test",)),
        ("train", "evaluation", ("Testing", "test")),
        ("training", "validation", ("test",)),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_parts_by_other_names(make_images, training, held_out, alone, archive):
    counts = {f"{part}/{kind}": 2 for part in (training, held_out, *alone) for kind in ("cat", "dog")}
    split = open_split(make_images("data", counts, archive=archive))
    assert {name.rsplit("/", 2)[0].split("/")[-1] for name in split.train.names} == {training}
    assert {name.rsplit("/", 2)[0].split("/")[-1] for name in split.val.names} == {held_out}
    assert split.train.classes == ("cat", "dog") and not split.divided_here
    assert f"{training} and {held_out} of " in split.how
    assert ("not used" in split.how) == bool(alone) and all(part in split.how for part in alone)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/a": 1, "train/b": 1, "unlabeled/x": 1}, "contains unlabeled beside train: move"),
        ({"train/a": 1, "train/b": 1, "unlabeled": 1}, "contains unlabeled beside train: move"),
        ({"train": 2, "extra": 2}, "contains extra beside train: move"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "extra/a": 1}, "contains extra beside train and val"),
        ({"test/a": 1, "test/b": 1, "val/a": 1, "val/b": 1}, "test and val, of which none is for training"),
        ({"train/a": 1, "Training/a": 1, "val/a": 1}, "Training and train are for training: keep exactly one"),
        ({"train/a": 1, "dev/a": 1, "val/a": 1}, "dev and val are held out: keep exactly one"),
        ({"train": 1, "valid": 1}, "contains images but no sub-folders"),
    ],
)
@pytest.mark.parametrize("opener", [open_split, open_images, open_evaluation])
def test_parts_beside_anything_else_are_refused_by_name(make_images, counts, message, opener):
    with pytest.raises(ValueError, match=message):
        opener(make_images("data", counts))


def test_a_class_may_be_called_train(make_images):
    assert open_images(make_images("vehicles", {"bus": 1, "ship": 1, "train": 2})).classes == ("bus", "ship", "train")
    split = open_split(make_images("data", {f"{p}/{c}": 1 for p in ("train", "test") for c in ("bus", "train")}))
    assert split.train.classes == split.val.classes == ("bus", "train")


def test_a_folder_and_a_zip_file_of_one_part_are_ambiguous(make_images, tmp_path):
    folder = make_images("data", {f"{part}/{kind}": 1 for part in ("train", "val") for kind in ("a", "b")})
    shutil.make_archive(str(folder / "val"), "zip", root_dir=folder / "val")
    with pytest.raises(ValueError, match=r"val and val\.zip are held out: keep exactly one"):
        open_split(folder)
    shutil.rmtree(folder / "val")
    assert len(open_split(folder).val) == 2


def test_splits_with_other_classes_are_refused(make_images):
    with pytest.raises(ValueError, match="only one of them has 'b', 'c'"):
        open_split(make_images("data", {"train/a": 1, "train/b": 1, "val/a": 1, "val/c": 1}))


def test_a_division_is_made_class_by_class(make_images):
    path = make_images("pets", {"a": 20, "b": 7, "c": 2})
    split = open_split(path, val_fraction=0.25)
    assert np.bincount(split.val.labels).tolist() == [5, 2, 1]
    assert sorted(split.train.names + split.val.names) == open_images(path).names
    assert split.divided_here and "25% of each class of" in split.how
    keys = open_images(path).keys()
    assert max(split.val.keys()[:5]) < min(split.train.keys()[:15]) and len(set(keys)) == len(keys) == 29
    with pytest.raises(ValueError, match="val_fraction is 1"):
        open_split(path, val_fraction=1.0)
    with pytest.raises(ValueError, match=r"class 'd'.*one image"):
        open_split(make_images("pets", {"a": 2, "d": 1}))


def test_a_division_belongs_to_the_data(make_images, tmp_path):
    archive = make_images("pets", {"a": 20, "b": 7}, archive=True)
    held_out = open_split(tmp_path / "pets").val.keys()
    (tmp_path / "pets").rename(tmp_path / "moved")
    assert open_split(tmp_path / "moved").val.keys() == open_split(archive).val.keys() == held_out
    make_images("moved", {"a": 22})  # the same 20 and two more
    assert len(set(held_out) - set(open_split(tmp_path / "moved").val.keys())) <= 1
    (tmp_path / "moved" / "a" / "000.png").write_bytes(b"")
    keys = [open_images(source).keys()[0] for source in (archive, tmp_path / "moved")]
    assert keys[0] != keys[1] and all(len(key) == 16 and int(key, 16) for key in keys)


def test_evaluation_takes_everything_where_nothing_is_held_out(make_images):
    path = make_images("pets", {"a": 3, "b": 2})
    assert open_evaluation(path).names == open_images(path).names


def test_relabelling_after_the_classes_of_a_checkpoint(make_images):
    images = open_images(make_images("pets", {"a": 1, "b": 2}))
    known = images.relabel(("z", "b", "a"))
    assert known.labels == [2, 1, 1] and known.classes == ("z", "b", "a") and known.names == images.names
    with pytest.raises(ValueError, match="pets has unknown classes: a"):
        images.relabel(("b", "c"))


@pytest.mark.data
def test_tiny_imagenet_opens(shared):
    split = open_split(shared / "data/tiny_imagenet_100")
    assert (len(split.train), len(split.val)) == (50_000, 5_000)
    assert split.train.classes[0] == "goldfish, Carassius auratus" and len(split.val.classes) == 100
    assert np.bincount(split.val.labels).tolist() == [50] * 100
    assert fits_in_memory(split.train)
    assert to_arrays(split.val.subset(range(0, 5000, 100))).images.shape == (50, 3, 64, 64)
