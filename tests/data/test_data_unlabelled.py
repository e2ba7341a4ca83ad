"""Pictures without classes."""

import pytest

from crate_transformer.data import in_memory, open_images, open_split, ordered_loader
from crate_transformer.data.augment import EvalView
from crate_transformer.models import Preprocessing


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("counts", [{".": 20}, {"holiday": 20}, {".": 5, "a": 7, "b": 8}])
def test_any_folder_of_pictures_opens(make_images, counts, archive):
    path = make_images("pictures", counts, archive=archive)
    split = open_split(path, labelled=False)
    assert split.train.labels is split.val.labels is None and split.train.classes == ()
    assert (len(split.train), len(split.val)) == (18, 2) and split.divided_here
    assert split.how.startswith(f"10% of {path} held out")
    assert set(split.val.keys()) == set(sorted(split.train.keys() + split.val.keys())[:2])
    arrays = in_memory(split.val)
    assert arrays.labels is None and arrays.fingerprint() != in_memory(split.train).fingerprint()
    (batch,) = ordered_loader(arrays, EvalView(Preprocessing(img_size=(8, 8))), size=(8, 8), batch_size=4)
    assert set(batch) == {"images", "positions"}
    assert open_images(make_images("pets", {"a": 1, "b": 1})).labels == [0, 1]


def test_classes_are_kept_where_there_are_some(make_images):
    assert open_split(make_images("pets", {"a": 3, "b": 3}), labelled=False).train.classes == ("a", "b")
    folder = make_images("table", {".": 4})
    (folder / "labels.csv").write_text("000.png,cat\n001.png,dog\n002.png,cat\n003.png,dog\n")
    assert sorted(open_split(folder, labelled=False).val.labels) == [0, 1]


def test_parts_without_classes(make_images):
    split = open_split(make_images("parts", {"train": 5, "val": 3}), labelled=False)
    assert (len(split.train), len(split.val), split.divided_here) == (5, 3, False)
    assert split.train.labels is None


def test_a_single_picture_cannot_be_divided(make_images):
    with pytest.raises(ValueError, match=r"one has only one image: two are needed"):
        open_split(make_images("one", {".": 1}), labelled=False)
