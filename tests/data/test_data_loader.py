import logging
import os
import signal

import pytest
import torch

from crate_transformer.data import ArrayImages, Augment, eval_loader, open_images, train_loader
from crate_transformer.models import Preprocessing

SMALL = Preprocessing(img_size=(8, 8), crop_pct=1.0)
IDENTITY = Preprocessing(img_size=(8, 8), crop_pct=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


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
    batches = list(train_loader(arrays, IDENTITY, batch_size=5, steps=23))
    labels = torch.cat([labels for _, labels in batches])
    assert len(batches) == 23 and all(len(part) == 5 for _, part in batches)
    epochs = labels.view(5, 23)
    assert all(epoch.sort().values.tolist() == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 5
    assert all(torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels) for images, labels in batches)


def test_a_set_smaller_than_the_batch_repeats(arrays):
    ((_, labels),) = train_loader(arrays.subset(range(3)), SMALL, batch_size=8, steps=1)
    assert len(labels) == 8 and labels[:3].sort().values.tolist() == labels[3:6].sort().values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("source", ["arrays", "folder"])
def test_resuming_repeats_the_same_batches(arrays, make_images, source):
    images = arrays if source == "arrays" else open_images(make_images("pets", {"a": 6, "b": 7}))
    options = {"batch_size": 4, "steps": 9, "seed": 5, "augment": Augment()}
    whole = list(train_loader(images, SMALL, **options))
    torch.rand(3)
    for start in (0, 1, 5, 8, 9):
        assert same(train_loader(images, SMALL, start_step=start, **options), whole[start:])
    assert not same(train_loader(images, SMALL, **{**options, "seed": 6}), whole)
    assert len(train_loader(images, SMALL, start_step=5, **options)) == 4


@pytest.mark.parametrize("kind", ["arrays", "zip"])
def test_workers_make_the_same_batches(arrays, make_images, kind):
    images = arrays if kind == "arrays" else open_images(make_images("pets", {"a": 6, "b": 7}, archive=True))
    options = {"batch_size": 4, "steps": 6, "augment": Augment(), "start_step": 1}
    single = list(train_loader(images, SMALL, **options))
    assert same(train_loader(images, SMALL, num_workers=2, **options), single)
    single = list(eval_loader(images, SMALL, batch_size=5))
    assert same(eval_loader(images, SMALL, batch_size=5, num_workers=2), single)


def test_loading_leaves_the_global_random_state_alone(arrays):
    before = torch.get_rng_state()
    list(train_loader(arrays, SMALL, batch_size=4, steps=3, augment=Augment()))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("source", ["arrays", "folder"])
def test_ranks_see_together_what_one_would_see(arrays, make_images, source):
    folder = make_images("pets", {"a": 60, "b": 60})
    (folder / "a" / "007.png").write_text("text")
    images = arrays if source == "arrays" else open_images(folder)
    options = {"batch_size": 6, "steps": 25, "augment": Augment()}
    whole = list(train_loader(images, SMALL, **options))
    ranks = [list(train_loader(images, SMALL, rank=rank, world_size=2, **options)) for rank in range(2)]
    for step, batch in enumerate(whole):
        for part, expected in enumerate(batch):
            together = torch.stack([ranks[0][step][part], ranks[1][step][part]], dim=1).flatten(0, 1)
            assert torch.equal(together, expected)
    with pytest.raises(ValueError, match=r"batch_size is 6.*multiple of the 4 processes"):
        train_loader(arrays, SMALL, world_size=4, **options)


def test_crops_do_not_depend_on_the_batch_size(arrays):
    options = {"augment": Augment(), "seed": 3}
    large = torch.cat([x for x, _ in train_loader(arrays, SMALL, batch_size=12, steps=4, **options)])
    small = torch.cat([x for x, _ in train_loader(arrays, SMALL, batch_size=3, steps=16, **options)])
    assert torch.equal(large, small)


class Deadly(ArrayImages):
    """Kills the process that asks for a batch, as a system without memory does."""

    def batch(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_sentence(arrays):
    images = Deadly(arrays.images, arrays.labels, arrays.classes)
    with pytest.raises(OSError, match=r"^a process that reads images was ended from outside.*fewer such processes"):
        list(eval_loader(images, SMALL, batch_size=4, num_workers=1))


def test_crops_differ_by_step_and_picture():
    images = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    single = ArrayImages(images, torch.tensor([0]), ("only",))
    crops = torch.cat([x for x, _ in train_loader(single, SMALL, batch_size=2, steps=3, augment=Augment())])
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) == 6


def test_a_schedule_of_resolution(arrays):
    batches = train_loader(
        arrays, SMALL, batch_size=4, steps=4, augment=Augment(), sizes=lambda step: (4 + 2 * step, 8)
    )
    assert [tuple(images.shape[2:]) for images, _ in batches] == [(4, 8), (6, 8), (8, 8), (10, 8)]


def test_evaluation_is_in_order_and_complete(arrays):
    loader = eval_loader(arrays, IDENTITY, batch_size=10)
    batches = list(loader)
    assert len(loader) == 3 and [len(labels) for _, labels in batches] == [10, 10, 3]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(23))


def test_nothing_to_train_on(arrays):
    with pytest.raises(ValueError, match="no images to train on"):
        train_loader(arrays.subset([]), SMALL, batch_size=2, steps=1)
    with pytest.raises(ValueError, match="batch_size is 0"):
        eval_loader(arrays, SMALL, batch_size=0)
    with pytest.raises(ValueError, match="processes that read images is -1: it must be at least 0"):
        eval_loader(arrays, SMALL, batch_size=2, num_workers=-1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_broken_images_met_by_workers_are_reported_once(make_images, caplog, num_workers):
    folder = make_images("pets", {"a": 60, "b": 60})
    (folder / "b" / "007.png").write_text("text")
    images = open_images(folder)
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        for _ in range(2):
            assert sum(len(y) for _, y in eval_loader(images, SMALL, batch_size=16, num_workers=num_workers)) == 119
    assert list(images.broken) == ["b/007.png"] and len(caplog.messages) == 1
    assert same(
        train_loader(images, SMALL, batch_size=16, steps=10, augment=Augment(), num_workers=num_workers),
        train_loader(open_images(folder), SMALL, batch_size=16, steps=10, augment=Augment()),
    )
    (folder / "a" / "001.png").write_text("text")
    with pytest.raises(ValueError, match=r"^2 of the 120 images"):
        list(train_loader(open_images(folder), SMALL, batch_size=16, steps=20, num_workers=num_workers))
