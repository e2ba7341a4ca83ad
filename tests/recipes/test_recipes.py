"""Every recipe is alive: it builds, its model is as large as promised, and two steps of it run."""

import dataclasses
import re

import numpy as np
import pytest

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.data import MaskedArrays, Split
from crate_transformer.models import LANGUAGE_MODELS, MODELS
from crate_transformer.recipes.debug import shrink
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.quickstart import QuickstartConfig, crate_digits, vit_digits
from crate_transformer.recipes.registry import RECIPES, command, recipe
from crate_transformer.recipes.run import fit
from crate_transformer.recipes.tasks import open_data

DIGITS = {"crate_digits": crate_digits(QuickstartConfig()), "vit_digits": vit_digits(QuickstartConfig())}
COUNTS = {"cifar10": 315_370, "cifar10_vit": 308_042, "crate_digits": 315_370, "vit_digits": 308_042}


def small() -> dict[str, Experiment]:
    """Each recipe in its debug size; those that are the same there stand once, by the name of the first."""
    sizes = {name: shrink(one.experiment) for name, one in RECIPES.items()}
    names = {repr(experiment): name for name, experiment in reversed(sizes.items())}
    return {name: sizes[name] for name in reversed(names.values())}


@pytest.fixture
def noise(tiny_images):
    return Split(tiny_images(32), tiny_images(32, count=9, seed=1), "noise", divided_here=False)


@pytest.fixture
def masked(noise):
    """The same pictures, with the class of each in all its pixels."""

    def with_masks(images):
        masks = images.labels.byte()[:, None, None].expand(-1, *images.images.shape[-2:]).contiguous()
        return MaskedArrays(images.images, None, images.classes, masks=masks)

    return Split(with_masks(noise.train), with_masks(noise.val), "noise", divided_here=False)


@pytest.fixture
def text(tmp_path):
    """Token ids of no meaning."""
    file = tmp_path.with_name(f"{tmp_path.name}.bin")
    (np.arange(8192, dtype="<u2") % 250).tofile(file)
    return file


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "experiment"), small().items(), ids=small())
def test_two_steps(name, experiment, noise, masked, text, tmp_path):
    data = masked if isinstance(experiment.task, SegmentationConfig) else noise
    if isinstance(experiment.task, LanguageConfig):
        data = open_data(experiment.task, text)
    done = fit(experiment, data, tmp_path, data_name="noise", show=False)
    assert done.metrics["steps"] == 2
    assert len(getattr(done.model, "backbone", done.model).blocks) == 2
    if data in (noise, masked):
        assert done.model.class_names == (("a", "b", "c") if done.model.num_classes else None)


@pytest.mark.parametrize("name", COUNTS)
def test_two_steps_at_full_size(name, noise, tmp_path):
    experiment = {**DIGITS, **{name: one.experiment for name, one in RECIPES.items()}}[name]
    schedule = dataclasses.replace(experiment.schedule, epochs=None, steps=2, batch_size=6)
    done = fit(dataclasses.replace(experiment, schedule=schedule), noise, tmp_path, data_name="noise", show=False)
    assert done.metrics["steps"] == 2 and done.metrics["count"] == 9
    assert done.metrics["parameters"] == COUNTS[name] - 7 * (done.model.embed_dim + 1)  # three classes instead of ten


@pytest.mark.parametrize("name", RECIPES)
def test_facts_fit_the_experiment(name):
    one = RECIPES[name]
    assert name in command(name) and one.experiment.model in MODELS | LANGUAGE_MODELS
    assert one.after is None or (one.after in RECIPES and one.experiment.start_from in command(one.after).split())
    assert (one.experiment.start_from is None) == (one.after is None)
    assert all(0 < expected.value < 100 and expected.source for expected in one.expected)
    assert one.expected or re.search("no result of its own|no expected result|not measured yet", one.notes[0])


def test_pairs_that_are_compared_are_trained_alike():
    config = QuickstartConfig(steps=7, seed=3)
    pairs = [
        (recipe("cifar10"), recipe("cifar10_vit")),
        (recipe("cifar10_conv"), recipe("cifar10_conv_vit")),
        (recipe("crate_small_imagenet1k"), recipe("vit_small_imagenet1k")),
        (recipe("crate_base_patch8_imagenet21k"), recipe("vit_base_patch8_imagenet21k")),
        (recipe("crate_tiny_pets"), recipe("vit_tiny_pets")),
        (recipe("crate_lm_base_openwebtext"), recipe("tost_lm_large_openwebtext")),
        (recipe("tost_small_imagenet1k"), recipe("vit_small_imagenet1k_as_tost")),
        (crate_digits(config), vit_digits(config)),
    ]
    for ours, vit in pairs:
        own = {"model": vit.model, "options": vit.options, "start_from": vit.start_from}
        assert dataclasses.replace(ours, **own) == vit
    assert (crate_digits(config).schedule.steps, crate_digits(config).loop.seed) == (7, 3)


@pytest.mark.parametrize(
    ("name", "steps", "warmup", "rate", "decay", "images"),
    [
        ("crate_base_imagenet1k", 93_835, 3_128, 2.4e-4, 0.5, 192_175_050),
        ("crate_base_patch8_imagenet21k", 311_948, 17_330, 9.6e-5, 0.05, 1_277_740_980),
        ("crate_base_patch8_pets", 5_750, 0, 5e-5, 0.01, 736_000),
        ("crate_mae_base_imagenet1k", 250_228, 12_511, 4.8e-4, 0.1, 1_024_933_600),
        ("crate_alpha_large_patch14_imagenet1k", 28_463, 3_128, 1.6e-4, 0.1, 116_586_197),
        ("tost_medium_imagenet1k", 500_456, 6_256, 1e-3, 0.05, 512_466_800),
    ],
)
def test_settings_are_those_of_the_papers(name, steps, warmup, rate, decay, images):
    """Steps and images worked out by hand from passes, batch and the size of the data (../shared/PAPERS.md)."""
    one = RECIPES[name]
    schedule = one.experiment.schedule.fitted(one.data.samples)
    assert (schedule.steps, schedule.warmup_steps) == (steps, warmup)
    assert one.experiment.optimiser.learning_rate == pytest.approx(rate)
    assert one.experiment.optimiser.weight_decay == decay and one.samples_seen == images


def test_an_unknown_recipe():
    with pytest.raises(
        ValueError, match=r"no recipe 'crate_tiny_pet': did you mean crate_tiny_pets, .*'crate recipes'"
    ):
        recipe("crate_tiny_pet")
