import math
import subprocess
import sys

import pytest

from crate_transformer.configs import AugmentConfig, MultiCropConfig


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("min_area", 0.0, "min_area is 0.0 and max_area 1.0: min_area must be greater than 0"),
        ("min_area", 1.5, "min_area is 1.5"),
        ("max_area", 0.2, "min_area is 0.35 and max_area 0.2"),
        ("max_area", math.nan, "min_area is 0.35 and max_area nan"),
        ("erase", 1.5, "erase is 1.5: it must be between 0 and 1"),
        ("grayscale", -0.1, "grayscale is -0.1"),
        ("cutmix_fraction", math.nan, "cutmix_fraction is nan"),
        ("randaugment", -1, "randaugment is -1: it must not be negative"),
        ("randaugment_magnitude", 14.0, "randaugment_magnitude is 14.0: it must be between 0 and 10"),
        ("mixup", math.inf, "mixup is inf"),
        ("cutmix", -1.0, "cutmix is -1.0"),
        ("blur_radius", 0.0, "blur_radius is 0.0: it must be at least 0.1 pixels"),
        ("repeats", 0, "repeats is 0: it must be at least 1"),
    ],
)
def test_a_wrong_value_is_named(name, value, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        AugmentConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("local_crops", -1), ("local_size", 0)])
def test_a_wrong_number_of_crops_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} is {value}"):
        MultiCropConfig(**{name: value})


def test_what_is_on():
    assert AugmentConfig().crops and not AugmentConfig(min_area=1.0).crops
    assert not AugmentConfig().mixes
    assert AugmentConfig(mixup=0.8).mixes and AugmentConfig(cutmix=1.0).mixes
    assert not AugmentConfig(mixup=0.8, mix_probability=0.0).mixes


def test_settings_load_without_pytorch():
    program = "import sys, crate_transformer.configs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
