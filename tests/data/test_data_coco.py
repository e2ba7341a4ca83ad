import json

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.data import coco_objects

coco_mask = pytest.importorskip("pycocotools.mask")


@pytest.fixture
def folder(tmp_path):
    """Two red objects (a run-length mask and a polygon) on blue, an empty picture and a full one."""
    (tmp_path / "images").mkdir()
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[..., 2] = 255
    first = np.zeros((40, 60), dtype=np.uint8)
    first[4:14, 20:30] = 1
    runs = coco_mask.encode(np.asfortranarray(first))
    pixels[first > 0] = (255, 0, 0)
    pixels[20:36, 30:46] = (255, 0, 0)
    for name in ("two", "none", "full"):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    images = [
        {"id": i, "file_name": f"{name}.png", "height": 40, "width": 60}
        for i, name in enumerate(("two", "none", "full"))
    ]
    square = [[30, 20, 46, 20, 46, 36, 30, 36]]
    everything = coco_mask.encode(np.asfortranarray(np.ones((40, 60), dtype=np.uint8)))
    annotations = [
        {"image_id": 0, "segmentation": {"size": [40, 60], "counts": runs["counts"].decode()}, "iscrowd": 1},
        {"image_id": 0, "segmentation": square, "iscrowd": 0},
        {"image_id": 2, "segmentation": {"size": [40, 60], "counts": everything["counts"].decode()}, "iscrowd": 0},
    ]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path


@pytest.mark.parametrize("size", [40, 20, 80])
def test_masks_follow_the_pictures(folder, size):
    objects = coco_objects(folder, size=size)
    assert objects.names == ["two.png"] and objects.images.shape == (1, 3, size, size)
    red = objects.images[:, 0] > 127
    assert (red == objects.masks).float().mean() > (0.999 if size == 40 else 0.97)
    assert objects.masks.float().mean().item() == pytest.approx((100 + 256) / 1600, rel=0.1)


def test_uncompressed_runs(folder):
    content = json.loads((folder / "instances.json").read_text())
    content["annotations"] = [{"image_id": 0, "segmentation": {"size": [40, 60], "counts": [1000, 400, 1000]}}]
    (folder / "instances.json").write_text(json.dumps(content))
    assert coco_objects(folder, size=40).masks.sum() == 400


def test_refusals(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no image of .* cover 50% to 51%"):
        coco_objects(folder, size=40, coverage=(0.50, 0.51))
    with pytest.raises(FileNotFoundError, match=r"instances\.json does not exist"):
        coco_objects(tmp_path / "images", size=40)
    for content in ("{", "[]", '{"images": []}'):
        (folder / "instances.json").write_text(content)
        with pytest.raises(ValueError, match="not in the format of COCO"):
            coco_objects(folder, size=40)


@pytest.mark.data
def test_coco_sample(shared):
    objects = coco_objects(shared / "data/coco_val100", size=64)
    assert 55 <= len(objects) <= 70 and len(set(objects.names)) == len(objects)
    coverage = objects.masks.float().mean((1, 2))
    assert torch.all((coverage >= 0.03) & (coverage <= 0.60))
