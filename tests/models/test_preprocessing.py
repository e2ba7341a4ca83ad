"""Settings that no picture could be prepared with are refused where they are given."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from crate_transformer.models import Preprocessing


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"crop_pct": 0.0}, r"crop_pct is 0\.0: it must be above 0"),
        ({"crop_pct": 1.2}, r"crop_pct is 1\.2"),
        ({"crop_pct": float("nan")}, "crop_pct is nan"),
        ({"crop_pct": 1e-9}, r"crop_pct is 1e-09: images would be enlarged to 2\.24e\+11 pixels"),
        ({"std": (0.2, 0.0, 0.2)}, r"std is \(0\.2, 0\.0, 0\.2\): every value must be at least 0\.001"),
        ({"std": (0.2, float("nan"), 0.2)}, r"std is \(0\.2, nan, 0\.2\)"),
        ({"std": (0.2, float("inf"), 0.2)}, r"std is \(0\.2, inf, 0\.2\)"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"mean is \(0\.5, nan, 0\.5\): every value must be between"),
        ({"mean": (0.5, 0.5, 1e38)}, r"mean is \(0\.5, 0\.5, 1e\+38\)"),
        ({"mean": (0.5, 0.5)}, "mean has 2 values and std 3: give one of each for red, green and blue"),
        ({"mean": (0.5,), "std": (0.5,)}, "mean has 1 values and std 1"),
        ({"img_size": (0, 32)}, r"img_size is \(0, 32\): give height and width"),
        ({"img_size": (32, 10**6)}, r"img_size is \(32, 1000000\): give height and width, each from 1 to 4096"),
    ],
)
def test_wrong_settings(setting, words):
    with pytest.raises(ValueError, match=words):
        Preprocessing(**setting)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"img_size": (32,)}, r"img_size is \(32,\): give height and width"),
        ({"interpolation": "lanczos"}, "interpolation is 'lanczos': choose bilinear or bicubic"),
    ],
)
def test_wrong_types(setting, words):
    """The check alone, since the annotations that only tests enforce would refuse these before it."""
    with pytest.raises(ValueError, match=words):
        Preprocessing.__post_init__(SimpleNamespace(**{**asdict(Preprocessing()), **setting}))


def test_the_limits_are_allowed():
    assert Preprocessing(crop_pct=1.0, img_size=(1, 1), interpolation="bicubic").crop_pct == 1
    assert Preprocessing(img_size=(4096, 4096), mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3).img_size == (4096, 4096)
