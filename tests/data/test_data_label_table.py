"""Labels from CSV files: one class each or several, files named in any way, tables with mistakes; Kaggle's ImageNet."""

import logging
import shutil
import zipfile

import numpy as np
import pytest

from crate_transformer.data import open_evaluation, open_images, open_split


@pytest.fixture
def flat(make_images):
    """Six pictures in one folder, and a writer of the table beside them."""
    folder = make_images("flat", {"": 6})

    def write(text: str, encoding: str = "utf-8"):
        (folder / "labels.csv").write_text(text, encoding=encoding)
        return folder

    return write


@pytest.mark.parametrize("title", ["", "file,label\n"])
@pytest.mark.parametrize("name", ["{:03}.png", "{:03}", "./{:03}.png", "old\\{:03}.png"])
def test_one_class_each(flat, title, name):
    folder = flat(title + "".join(f"{name.format(i)},{'cat' if i % 2 else 'dog'}\n" for i in range(6)), "utf-8-sig")
    if "old" in name:
        (folder / "old").mkdir()
        for file in folder.glob("*.png"):
            file.rename(folder / "old" / file.name)
    images = open_images(folder)
    assert images.classes == ("cat", "dog") and images.labels == [1, 0, 1, 0, 1, 0]
    assert images.read(1).size == (12, 10) and len(set(images.keys())) == 6
    split = open_split(folder, val_fraction=0.3)
    assert (len(split.train), len(split.val)) == (4, 2) and set(split.val.labels) == {0, 1}


def test_several_classes_of_one_picture(flat):
    folder = flat("000.png,cat;dog\n001.png,dog\n002.png,\n003.png,cat\n004.png,bird; cat\n")
    images = open_images(folder)
    assert images.classes == ("bird", "cat", "dog") and images.labels is None and len(images) == 5
    expected = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    np.testing.assert_array_equal(images.targets, expected)
    some = images.subset([4, 0])
    np.testing.assert_array_equal(some.targets, expected[[4, 0]])
    assert some.part_of == 5
    np.testing.assert_array_equal(images.relabel(("dog", "fox", "cat", "bird")).targets[0], [1, 0, 1, 0])
    assert images.fingerprint() != open_images(flat("000.png,cat;dog\n001.png,cat\n002.png,\n")).fingerprint()
    split = open_split(folder, val_fraction=0.4)
    assert (len(split.train), len(split.val)) == (2, 1) and split.val.targets.shape == (1, 2)


def test_one_column_for_each_class(flat, crate_check):
    folder = flat("image,cat,dog,fox\n000.png,1,0,0\n001.png,0,1,0\n002.png,0,0,1.0\n")
    assert open_images(folder).labels == [0, 1, 2]  # one each
    folder = flat("image,dog,cat,fox\n000.png,1,1,0\n001.png,0,0,0\n")
    images = open_images(folder)
    assert images.classes == ("dog", "cat", "fox")
    np.testing.assert_array_equal(images.targets, np.array([[1, 1, 0], [0, 0, 0]], np.float32))
    assert crate_check(folder).classes == {"dog": 1, "cat": 1, "fox": 0}


@pytest.fixture
def crate_check():
    from crate_transformer.data.check import check_images

    return lambda folder: check_images({"all": open_images(folder)}).parts["all"]


def test_missing_labels_and_files_are_counted(flat, caplog):
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        images = open_images(flat("000.png,cat\n001.png,dog\n002.png,\nabsent.png,dog\n"))
    assert images.labels == [0, 1]
    assert "skipped 4 images that it does not list" in caplog.text
    assert "1 lines match no image, or several" in caplog.text


def test_parts_with_one_table_or_two(make_images, tmp_path):
    folder = make_images("set", {"train": 4, "val": 2})
    lines = [f"train/{i:03}.png,{i % 2}" for i in range(4)] + [f"val/{i:03}.png,{i % 2}" for i in range(2)]
    (folder / "labels.csv").write_text("\n".join(lines))
    split = open_split(folder)
    assert split.train.labels == [0, 1, 0, 1] and split.val.labels == [0, 1] and not split.divided_here
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    assert open_split(tmp_path / "packed.zip").train.keys() == split.train.keys()
    (folder / "labels.csv").unlink()
    for part in ("train", "val"):
        part_lines = [line.removeprefix(f"{part}/") for line in lines if line.startswith(part)]
        (folder / part / "labels.csv").write_text("\n".join(part_lines))
    assert open_split(folder).val.labels == [0, 1]


def test_class_folders_go_before_a_table(make_images):
    folder = make_images("pets", {"cat": 1, "dog": 1})
    (folder / "labels.csv").write_text("cat/000.png,x\ndog/000.png,y\n")
    assert open_images(folder).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,y\n", "lists none of the images"),
        ("000.png\n", "line 1 has 1 columns: each line needs a file, a comma and a class"),
        ("000.png,a\n001.png,b,c\n", "line 2 has 3 columns: each line needs 2, as the first"),
        ("000.png,a\n000,b\n", "line 2: '000' is listed twice"),
        ("f,a,b\n000.png,1,2\n", "line 2 contains '2': in a table with one column per class it must be 0 or 1"),
        ("000.png,1,0\n", "a table of 0 and 1 needs a header line"),
        ("f,a,a\n000.png,1,0\n", "two columns have the same name"),
        ("000.png,a\n001.png,a\n", "single class 'a'"),
        ('000.png,"a\n' + "x" * 200_000, "is not readable CSV"),
    ],
)
def test_tables_with_mistakes(flat, text, message):
    with pytest.raises(ValueError, match=message) as error:
        open_images(flat(text))
    assert "\n" not in str(error.value)


def test_a_table_that_is_no_text(flat):
    with pytest.raises(ValueError, match=r"labels\.csv is not readable CSV in UTF-8"):
        open_images(flat("000.png,cät\n", "latin-1"))


def test_imagenet_as_kaggle_has_it(make_images, tmp_path):
    inside = "kaggle/ILSVRC/Data/CLS-LOC"
    ids = ("n01440764", "n01443537")
    make_images(inside, {**{f"train/{name}": 2 for name in ids}, "val": 3, "test": 2})
    root = tmp_path / "kaggle"
    for name in ids:
        (root / "ILSVRC/Annotations/CLS-LOC/train" / name).mkdir(parents=True)
        (root / "ILSVRC/Annotations/CLS-LOC/train" / name / "000.xml").touch()
    (root / "ILSVRC/ImageSets").mkdir()
    solution = "ImageId,PredictionString\n000,n01443537 85 1 499 272 n01443537 1 1 2 2 \n001,n01440764 1 2 3 4 \n"
    (root / "LOC_val_solution.csv").write_text(solution + "002,n01443537 1 1 3 3\n")
    for path in (root, tmp_path / inside):
        split = open_split(path)
        assert split.train.classes == split.val.classes == ("tench", "goldfish")
        assert split.train.labels == [0, 0, 1, 1] and split.val.labels == [1, 0, 1]
        assert "test is not used" in split.how and not split.divided_here
    assert open_evaluation(tmp_path / inside / "val").labels == [1, 0, 1]
    shutil.rmtree(tmp_path / inside / "test")
    assert len(open_split(root).val) == 3
