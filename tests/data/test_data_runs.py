"""Run lengths are COCO's, and damaged ones are refused."""

import numpy as np
import pytest

from crate_transformer.data import decode_mask, encode_mask

coco_mask = pytest.importorskip("pycocotools.mask")


def random_masks():
    generator = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        for size in ((1, 1), (7, 3), (40, 61), (300, 200)):
            yield generator.random(size) < share
    block = np.zeros((480, 640), dtype=bool)
    block[100:300, 5:600] = True
    yield block


def test_equal_to_the_official_codec_both_ways():
    for mask in random_masks():
        runs = encode_mask(mask)
        official = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert runs == {"size": list(mask.shape), "counts": official["counts"].decode()}
        for counts in (runs["counts"], official["counts"]):
            np.testing.assert_array_equal(decode_mask({"size": runs["size"], "counts": counts}, *mask.shape), mask)


def test_uncompressed_counts_are_read():
    found = decode_mask({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3)
    np.testing.assert_array_equal(found, [[False, True, False], [True, False, False]])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"size": [3, 2], "counts": [6]}, "for 3 x 2 pixels, but the image is 2 x 3"),
        ({"size": [2, 3], "counts": [5]}, "do not add up"),
        ({"size": [2, 3], "counts": [7, -1]}, "do not add up"),
        ({"size": [2, 3], "counts": "\x01"}, "damaged"),
        ({"size": [2, 3], "counts": "P"}, "ends within a number"),
        ({"size": [2, 3]}, "damaged"),
        ({"counts": [6]}, "damaged"),
        ({"size": [2, 3], "counts": None}, "damaged"),
        ({"size": None, "counts": [6]}, "damaged"),
    ],
)
def test_runs_that_do_not_fit_are_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(runs, 2, 3)
