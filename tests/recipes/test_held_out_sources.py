"""Held-out pictures are found again in every kind of source, and never trained on."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import open_split
from crate_transformer.recipes.held_out import HeldOut, hold_out_again, keys_held_out, unseen


@pytest.fixture
def sources(tmp_path):
    """One set of 2 x 10 pictures as a folder, as a tar file, and with several classes a picture in a table."""
    random, lines = np.random.default_rng(0), []
    for kind in ("cat", "dog"):
        for number in range(10):
            file = tmp_path / "set" / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
            lines.append(f"{kind}{number}.png,{kind}{';red' * (number % 2)}")
            (tmp_path / "table").mkdir(exist_ok=True)
            (tmp_path / "table" / f"{kind}{number}.png").write_bytes(file.read_bytes())
    (tmp_path / "table" / "labels.csv").write_text("\n".join(lines))
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", "set")
    return tmp_path


@pytest.mark.parametrize("name", ["set", "set.tar", "table"])
def test_pictures_of_an_earlier_run_stay_held_out(sources, name):
    first = keys_held_out(open_split(sources / name, val_fraction=0.3))
    split = open_split(sources / name, val_fraction=0.1)
    again, moved = hold_out_again(split, first)
    assert len(first) == 6 and moved == 4 and set(again.val.keys()) == first
    assert not first & set(again.train.keys()) and len(again.train) == 14
    assert [again.val.read(index).tobytes() for index in range(6)]  # every picture is where it says
    if again.val.labels is None:
        assert again.val.targets.shape == (6, 3)
    else:
        assert sorted(again.val.labels) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("name", ["set", "set.tar"])
def test_only_held_out_pictures_are_measured(sources, name):
    split = open_split(sources / "set")
    known = HeldOut(how="", divided_here=True, held_out=sorted(keys_held_out(split)))
    whole = open_split(sources / name, val_fraction=0.5).train
    images, which, warning = unseen(whole, known)
    assert warning is None or not set(whole.keys()) & set(known.held_out)
    everything = open_split(sources / name, val_fraction=0.9).val
    images, which, warning = unseen(everything, known)
    assert warning is None and which.endswith("which training held out")
    assert set(images.keys()) == set(known.held_out)


def test_a_class_that_was_held_out_whole(sources):
    split = open_split(sources / "set")
    cats = [key for key, label in zip(split.train.keys(), split.train.labels, strict=True) if label == 0]
    with pytest.raises(ValueError, match=r"held out all images of 'cat' in .*: nothing is left to train on"):
        hold_out_again(split, cats)
