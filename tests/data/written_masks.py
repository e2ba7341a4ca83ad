"""Folders of pictures with masks, as tests write them."""

import json

import numpy as np
from PIL import Image

from crate_transformer.data import encode_mask

LABELS = np.zeros((20, 30), dtype=np.uint8)
LABELS[2:8, 3:9] = 7
LABELS[10:18, 12:28] = 3
LABELS[0, 0] = 255


def write_picture(file, size=(30, 20)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(file)


def write_coco(root, segmentation, size=(20, 30)):
    write_picture(root / "images" / "a.jpg")
    image = {"id": 5, "file_name": "a.jpg", "height": size[0], "width": size[1]}
    annotations = [
        {"image_id": 5, "category_id": 7, "segmentation": segmentation, "iscrowd": 0},
        {"image_id": 5, "category_id": 7, "segmentation": encode_mask(LABELS == 3), "iscrowd": 1},
    ]
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 7, "name": "cat"}]}
    (root / "instances.json").write_text(json.dumps(content))
