"""CIFAR's binary version opens as any other set, and what is damaged is told in a sentence."""

import pickle

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import in_memory, open_evaluation, open_split
from crate_transformer.data.cifar import find_cifar

NAMES = ("airplane", "automobile", "bird")


def records(count, labels, seed):
    """``count`` pictures as CIFAR stores them, with the given bytes of labels before each."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    before = np.stack([np.arange(count) % labels[-1]] * len(labels), axis=1).astype(np.uint8)
    before[:, :-1] = 7  # the coarse class of CIFAR-100
    return np.concatenate([before, pixels], axis=1)


@pytest.fixture
def cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(records(6, (3,), number).tobytes())
    (folder / "test_batch.bin").write_bytes(records(9, (3,), 6).tobytes())
    return folder


def test_cifar_10(cifar10):
    split = open_split(cifar10.parent)
    assert (len(split.train), len(split.val), split.train.classes, split.divided_here) == (30, 9, NAMES, False)
    assert split.train.labels == [0, 1, 2] * 10
    expected = records(6, (3,), 2)[4, 1:].reshape(3, 32, 32).transpose(1, 2, 0)  # red, green, blue planes by rows
    assert np.array_equal(np.asarray(split.train.read(10)), expected)
    arrays = in_memory(split.train.subset([10, 3]))
    assert np.array_equal(arrays.images[0].permute(1, 2, 0), expected) and arrays.labels.tolist() == [1, 0]
    assert len({*split.train.keys(), *split.val.keys()}) == 39 and len(open_evaluation(cifar10)) == 9
    assert split.train.fingerprint() != split.val.fingerprint() and split.train.subset([3]).part_of == 30


def test_cifar_100_takes_the_fine_classes(tmp_path):
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\n")
    (tmp_path / "train.bin").write_bytes(records(4, (0, 2), 0).tobytes())
    (tmp_path / "test.bin").write_bytes(records(2, (0, 2), 1).tobytes())
    split = open_split(tmp_path)
    assert split.train.classes == ("apple", "aquarium_fish") and split.train.labels == [0, 1, 0, 1]


def test_what_is_damaged(cifar10):
    batch = cifar10 / "data_batch_3.bin"
    whole = batch.read_bytes()
    for content, told in (
        (whole[:-1], r"data_batch_3\.bin is truncated or damaged: its 18,437 bytes are not a multiple of 3,073"),
        (b"", r"data_batch_3\.bin is truncated"),
        (b"\x03" + whole[1:], r"data_batch_3\.bin is damaged: it contains the class 3, but batches\.meta\.txt lists 3"),
    ):
        batch.write_bytes(content)
        with pytest.raises(ValueError, match=told):
            find_cifar(cifar10)
    batch.unlink()
    with pytest.raises(OSError, match=r"data_batch_3\.bin"):
        find_cifar(cifar10)


def test_the_version_for_python_is_refused(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(pickle.dumps({b"data": 0}))
    with pytest.raises(
        ValueError, match=r"cifar-100-python is the Python version of CIFAR, whose pickles could run code"
    ):
        open_split(tmp_path)


def test_what_lies_beside_does_not_matter(cifar10):
    Image.new("RGB", (8, 8)).save(cifar10 / "other.png")
    assert len(open_split(cifar10).train) == 30
