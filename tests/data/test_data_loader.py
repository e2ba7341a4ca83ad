import logging
import math
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.data import ArrayImages, Order, TrainView, eval_loader, normalise, open_images, train_loader
from crate_transformer.models import Preprocessing

SMALL = Preprocessing(img_size=(8, 8), crop_pct=1.0)
IDENTITY = Preprocessing(img_size=(8, 8), crop_pct=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


PLAIN = AugmentConfig(min_area=1.0, flip=False)


def batches(images, preprocessing, *, augment=PLAIN, size=None, **options):
    """Normalised images, labels and positions of every batch of a training loader."""
    view = TrainView(augment, preprocessing)
    for batch in train_loader(images, view, size=size or preprocessing.img_size, **options):
        yield normalise(batch["images"], preprocessing), batch["labels"], batch["positions"]


@pytest.fixture
def arrays() -> ArrayImages:
    """23 pictures; picture i has the grey value i and the label i."""
    values = torch.arange(23)
    return ArrayImages(
        values.byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(), values, tuple(map(str, range(23)))
    )


def same(ours, theirs) -> bool:
    ours, theirs = list(ours), list(theirs)
    return len(ours) == len(theirs) and all(
        torch.equal(x, y) for a, b in zip(ours, theirs, strict=True) for x, y in zip(a, b, strict=True)
    )


def test_every_epoch_sees_every_picture_once(arrays):
    found = list(batches(arrays, IDENTITY, batch_size=5, steps=23))
    labels = torch.cat([labels for _, labels, _ in found])
    assert len(found) == 23 and all(len(part) == 5 for _, part, _ in found)
    assert torch.cat([positions for _, _, positions in found]).tolist() == list(range(115))
    epochs = labels.view(5, 23)
    assert all(epoch.sort().values.tolist() == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 5
    assert all(torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels) for images, labels, _ in found)


def test_a_set_smaller_than_the_batch_repeats(arrays):
    ((_, labels, _),) = batches(arrays.subset(range(3)), SMALL, batch_size=8, steps=1)
    assert len(labels) == 8 and labels[:3].sort().values.tolist() == labels[3:6].sort().values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("source", ["arrays", "folder"])
def test_resuming_repeats_the_same_batches(arrays, make_images, source):
    images = arrays if source == "arrays" else open_images(make_images("pets", {"a": 6, "b": 7}))
    options = {"batch_size": 4, "steps": 9, "seed": 5, "augment": AugmentConfig()}
    whole = list(batches(images, SMALL, **options))
    torch.rand(3)
    for start in (0, 1, 5, 8, 9):
        assert same(batches(images, SMALL, start_step=start, **options), whole[start:])
    assert not same(batches(images, SMALL, **{**options, "seed": 6}), whole)
    loader = train_loader(images, TrainView(PLAIN, SMALL), size=(8, 8), batch_size=4, steps=9, start_step=5)
    assert len(loader) == 4


@pytest.mark.parametrize("kind", ["arrays", "zip"])
def test_workers_make_the_same_batches(arrays, make_images, kind):
    images = arrays if kind == "arrays" else open_images(make_images("pets", {"a": 6, "b": 7}, archive=True))
    options = {"batch_size": 4, "steps": 6, "augment": AugmentConfig(), "start_step": 1}
    single = list(batches(images, SMALL, **options))
    assert same(batches(images, SMALL, num_workers=2, **options), single)
    single = list(eval_loader(images, SMALL, batch_size=5))
    assert same(eval_loader(images, SMALL, batch_size=5, num_workers=2), single)


def test_loading_leaves_the_global_random_state_alone(arrays):
    before = torch.get_rng_state()
    list(batches(arrays, SMALL, batch_size=4, steps=3, augment=AugmentConfig()))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("source", ["arrays", "folder"])
def test_ranks_see_together_what_one_would_see(arrays, make_images, source):
    folder = make_images("pets", {"a": 60, "b": 60})
    (folder / "a" / "007.png").write_text("text")
    images = arrays if source == "arrays" else open_images(folder)
    options = {"batch_size": 12, "steps": 25, "augment": AugmentConfig()}
    whole = list(batches(images, SMALL, **options))
    for world_size, accumulate in ((2, 1), (1, 3), (2, 3)):
        ranks = [
            list(batches(images, SMALL, rank=rank, world_size=world_size, accumulate=accumulate, **options))
            for rank in range(world_size)
        ]
        for step, batch in enumerate(whole):
            parts = [ranks[rank][step * accumulate + part] for part in range(accumulate) for rank in range(world_size)]
            for together, expected in zip(map(torch.cat, zip(*parts, strict=True)), batch, strict=True):
                assert torch.equal(together, expected)
    with pytest.raises(ValueError, match=r"batch_size is 12.*multiple of the 5 processes$"):
        list(batches(arrays, SMALL, world_size=5, **options))
    with pytest.raises(ValueError, match=r"batch_size is 12.*multiple of the 2 processes times 4 parts"):
        list(batches(arrays, SMALL, world_size=2, accumulate=4, **options))


def test_crops_do_not_depend_on_the_batch_size(arrays):
    options = {"augment": AugmentConfig(), "seed": 3}
    large = torch.cat([x for x, _, _ in batches(arrays, SMALL, batch_size=12, steps=4, **options)])
    small = torch.cat([x for x, _, _ in batches(arrays, SMALL, batch_size=3, steps=16, **options)])
    assert torch.equal(large, small)


class Deadly(ArrayImages):
    """Kills the process that asks for a picture, as a system without memory does."""

    def read(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_sentence(arrays):
    images = Deadly(arrays.images, arrays.labels, arrays.classes)
    larger = Preprocessing(img_size=(12, 12))
    with pytest.raises(OSError, match=r"^a data-loading process was killed.*fewer workers"):
        list(eval_loader(images, larger, batch_size=4, num_workers=1))


class Lost(ArrayImages):
    """Its file is gone, as a shard that was there when the run began."""

    def read(self, *arguments):
        raise FileNotFoundError(2, "No such file or directory", "001.tar")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_errors_of_a_source_come_from_workers_as_they_are(arrays, num_workers):
    images = Lost(arrays.images, arrays.labels, arrays.classes)
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file or directory: '001.tar'$"):
        list(eval_loader(images, Preprocessing(img_size=(12, 12)), batch_size=4, num_workers=num_workers))
    assert not multiprocessing.active_children()


def test_crops_differ_by_step_and_picture():
    images = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    single = ArrayImages(images, torch.tensor([0]), ("only",))
    crops = torch.cat([x for x, _, _ in batches(single, SMALL, batch_size=2, steps=3, augment=AugmentConfig())])
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) == 6


def test_a_schedule_of_resolution(arrays):
    found = batches(arrays, SMALL, batch_size=4, steps=4, augment=AugmentConfig(), size=lambda step: (4 + 2 * step, 8))
    assert [tuple(images.shape[2:]) for images, _, _ in found] == [(4, 8), (6, 8), (8, 8), (10, 8)]


def test_evaluation_is_in_order_and_complete(arrays):
    loader = eval_loader(arrays, IDENTITY, batch_size=10)
    found = list(loader)
    assert len(loader) == 3 and [len(labels) for _, labels in found] == [10, 10, 3]
    assert torch.cat([labels for _, labels in found]).tolist() == list(range(23))


def test_nothing_to_train_on(arrays):
    with pytest.raises(ValueError, match="no images to train on"):
        list(batches(arrays.subset([]), SMALL, batch_size=2, steps=1))
    with pytest.raises(ValueError, match="batch_size is 0"):
        eval_loader(arrays, SMALL, batch_size=0)
    with pytest.raises(ValueError, match="num_workers is -1: it must be at least 0"):
        eval_loader(arrays, SMALL, batch_size=2, num_workers=-1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_broken_images_met_by_workers_are_reported_once(make_images, caplog, num_workers):
    folder = make_images("pets", {"a": 60, "b": 60})
    (folder / "b" / "007.png").write_text("text")
    images = open_images(folder)
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        for _ in range(2):
            assert sum(len(y) for _, y in eval_loader(images, SMALL, batch_size=16, num_workers=num_workers)) == 119
    assert list(map(images.name, images.unreadable)) == ["b/007.png"] and len(caplog.messages) == 1
    assert same(
        batches(images, SMALL, batch_size=16, steps=10, augment=AugmentConfig(), num_workers=num_workers),
        batches(open_images(folder), SMALL, batch_size=16, steps=10, augment=AugmentConfig()),
    )
    (folder / "a" / "001.png").write_text("text")
    with pytest.raises(ValueError, match=r"^2 of the 120 images"):
        list(batches(open_images(folder), SMALL, batch_size=16, steps=20, num_workers=num_workers))


def test_balanced_orders_draw_every_class_equally_often():
    labels = [0] * 90 + [1] * 10
    drawn = np.bincount([labels[index] for index in Order(100, 3, labels=labels, balanced=True)(range(4000))])
    assert abs(drawn[0] - 2000) < 5 * math.sqrt(4000) / 2  # five standard deviations
    again = Order(100, 3, labels=labels, balanced=True)(range(150, 160))
    assert again == Order(100, 3, labels=labels, balanced=True)(range(160))[150:]
