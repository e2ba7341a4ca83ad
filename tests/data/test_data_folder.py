import json
import logging
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.configs import AugmentConfig
from crate_transformer.data import (
    ArrayImages,
    BrokenImageError,
    Order,
    TrainView,
    eval_loader,
    fits_in_memory,
    in_memory,
    normalise,
    open_evaluation,
    open_images,
    open_split,
    preprocess,
    to_arrays,
    train_loader,
)
from crate_transformer.data.memory import SizesDiffer
from crate_transformer.models import Preprocessing

SMALL = Preprocessing(img_size=(8, 8), crop_pct=1.0)


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
    assert "classes.json is not used: it has no words for 'n2', 'n3'" in caplog.text
    for content, message in [("{", "is not readable JSON"), ('["n1"]', "Expected `object`"), ('{"n1": 1}', "`str`")]:
        (folder / "classes.json").write_text(content)
        with pytest.raises(ValueError, match=rf"classes\.json.*{message}"):
            open_images(folder / "train")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no images"),
        ({"": 2}, r"holds images but no sub-folders: sort|single class 'pets'"),
        ({"cat": 2}, "single class 'cat'"),
        ({"train/a": 1, "train/b": 1, "Val/a": 1, "Val/b": 1}, "is divided .train and Val of"),
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
    assert ("left alone" in split.how) == bool(alone) and all(part in split.how for part in alone)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/a": 1, "train/b": 1, "unlabeled/x": 1}, "holds unlabeled beside train: move"),
        ({"train/a": 1, "train/b": 1, "unlabeled": 1}, "holds unlabeled beside train: move"),
        ({"train": 2, "extra": 2}, "holds extra beside train: move"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "extra/a": 1}, "holds extra beside train and val"),
        ({"test/a": 1, "test/b": 1, "val/a": 1, "val/b": 1}, "test and val, of which none is to train on"),
        ({"train/a": 1, "Training/a": 1, "val/a": 1}, "Training and train are to train on: leave exactly one"),
        ({"train/a": 1, "dev/a": 1, "val/a": 1}, "dev and val are to hold out: leave exactly one"),
        ({"train": 1, "valid": 1}, "holds images but no sub-folders"),
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
    with pytest.raises(ValueError, match=r"val and val\.zip are to hold out: leave exactly one"):
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
    with pytest.raises(ValueError, match="pets has classes that are not among the known: a"):
        images.relabel(("b", "c"))


@pytest.fixture
def damaged(make_images):
    """200 pictures of which numbers 3 and 150 are broken."""
    folder = make_images("damaged", {"a": 100, "b": 100})
    (folder / "a" / "003.png").write_text("text")
    whole = (folder / "b" / "050.png").read_bytes()
    (folder / "b" / "050.png").write_bytes(whole[: len(whole) // 2])
    return folder


def evaluated(images, setting=None):
    """Model inputs and labels of all pictures, as for evaluation."""
    parts = zip(*eval_loader(images, setting or SMALL, batch_size=64), strict=True)
    return tuple(map(torch.cat, parts))


def test_broken_images_are_left_out_of_evaluation(damaged, caplog):
    images = open_images(damaged)
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        inputs, labels = evaluated(images)
        evaluated(images)
    assert inputs.shape == (198, 3, 8, 8) and labels.tolist() == [0] * 99 + [1] * 99
    assert torch.equal(inputs[3], preprocess(images.read(4), SMALL))
    assert set(map(images.name, images.unreadable)) == {"a/003.png", "b/050.png"}
    assert len(caplog.messages) == 2 and "003.png is not a readable image" in caplog.messages[0]


def test_broken_images_are_replaced_in_training(damaged):
    images, plain = open_images(damaged), AugmentConfig(min_area=1.0, flip=False)
    (batch,) = train_loader(images, TrainView(plain, SMALL), size=(8, 8), batch_size=200, steps=1)
    order = Order(200, 0)(range(200))
    expected = [{3: 4, 150: 151}.get(index, index) for index in order]
    assert batch["labels"].tolist() == [images.labels[index] for index in expected]
    for place in (order.index(3), order.index(150), order.index(7)):
        assert torch.equal(normalise(batch["images"][place], SMALL), preprocess(images.read(expected[place]), SMALL))
    with pytest.raises(BrokenImageError, match=r"damaged/b/050\.png"):
        images.read(150)


def test_more_than_one_percent_broken_is_an_error(damaged):
    (damaged / "a" / "077.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"3 of the 200 images of .*damaged are unreadable.*a/003\.png, a/077\.png, b/"
    ):
        evaluated(open_images(damaged))
    with pytest.raises(ValueError, match="3 of the 200"):
        to_arrays(open_images(damaged), (10, 12))


def test_one_broken_image_never_stops_a_small_set(make_images):
    folder = make_images("few", {"a": 4, "b": 4})
    (folder / "a" / "000.png").write_text("text")
    images = open_images(folder)
    assert len(to_arrays(images)) == 7
    (folder / "a" / "001.png").write_text("text")
    with pytest.raises(ValueError, match="2 of the 8 images"):
        to_arrays(open_images(folder))


def test_a_damaged_zip_entry_is_a_broken_image(make_images):
    path = make_images("pets", {"a": 2, "b": 2}, archive=True)
    with zipfile.ZipFile(path) as archive:
        entry = archive.infolist()[0]
    data = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    data[start + 40 : start + 60] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(BrokenImageError, match=r"pets\.zip/pets/a/000\.png is not a readable image \(Bad CRC"):
        open_images(path).read(0)


def test_to_arrays(make_images, damaged):
    images = open_images(make_images("pets", {"a": 3, "b": 2}))
    done = []
    arrays = to_arrays(images, progress=done.append)
    assert done == [1, 2, 3, 4, 5] and arrays.images.shape == (5, 3, 10, 12) and arrays.classes == images.classes
    assert all(arrays.read(i).tobytes() == images.read(i).tobytes() for i in range(5))
    assert arrays.labels.tolist() == images.labels
    assert to_arrays(images, (6, 6)).images.shape == (5, 3, 6, 6)
    lossy = open_images(damaged)
    arrays = to_arrays(lossy)
    assert len(arrays) == 198 and len(lossy.unreadable) == 2
    assert arrays.read(3).tobytes() == lossy.read(4).tobytes() and arrays.labels[99] == 1


def test_what_fits_in_memory(make_images):
    images = open_images(make_images("same", {"a": 3, "b": 2}))
    assert fits_in_memory(images)
    assert not fits_in_memory(images, limit=5 * 3 * 120 - 1) and fits_in_memory(images, limit=5 * 3 * 120)
    assert not fits_in_memory(open_images(make_images("large", {"a": 1, "b": 1}, size=(97, 40))))
    make_images("same", {"a": 1}, size=(11, 10))
    assert not fits_in_memory(images)
    with pytest.raises(ValueError, match="differ in size"):
        to_arrays(images)


def test_one_picture_of_another_shape_is_never_cropped_to_the_others(make_images):
    """It is number 201 of 260, which a look at every fourth picture does not see."""
    folder = make_images("pets", {"a": 130, "b": 130})
    assert isinstance(in_memory(open_images(folder)), ArrayImages)
    Image.new("RGB", (40, 4)).save(folder / "b" / "071.png")
    images = open_images(folder)
    assert fits_in_memory(images) and in_memory(images) is images
    with pytest.raises(SizesDiffer, match=r"b/071\.png has 4 x 40 pixels, others 10 x 12"):
        to_arrays(images)


def test_array_images_evaluate_as_files_do(make_images):
    images = open_images(make_images("pets", {"a": 3, "b": 2}))
    arrays = to_arrays(images)
    for setting in (SMALL, Preprocessing(img_size=(10, 12), crop_pct=1.0), Preprocessing(img_size=(8, 6))):
        for ours, theirs in zip(evaluated(arrays, setting), evaluated(images, setting), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.data
def test_tiny_imagenet_opens(shared):
    split = open_split(shared / "data/tiny_imagenet_100")
    assert (len(split.train), len(split.val)) == (50_000, 5_000)
    assert split.train.classes[0] == "goldfish, Carassius auratus" and len(split.val.classes) == 100
    assert np.bincount(split.val.labels).tolist() == [50] * 100
    assert fits_in_memory(split.train)
    assert to_arrays(split.val.subset(range(0, 5000, 100))).images.shape == (50, 3, 64, 64)
