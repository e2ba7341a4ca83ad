"""Pictures that cannot be read, in evaluation, in training and in memory."""

import logging
import zipfile

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
    open_images,
    preprocess,
    to_arrays,
    train_loader,
)
from crate_transformer.data.memory import SizesDiffer
from crate_transformer.models import Preprocessing

SMALL = Preprocessing(img_size=(8, 8), crop_pct=1.0)


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


def test_the_percent_is_that_of_the_data_set_also_in_a_part(damaged, caplog):
    """Two broken images of 200 would otherwise end what looks at a few of them."""
    images = open_images(damaged)
    part = images.subset([3, 4, 5, 150])
    assert len(evaluated(part)[1]) == 2 and len(caplog.messages) == 2
    assert len(to_arrays(images.subset([3, 4, 5, 150]).subset([0, 1, 2, 3]))) == 2
    with pytest.raises(ValueError, match="2 of the 3 images"):
        evaluated(images.subset([3, 4, 150]))


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
