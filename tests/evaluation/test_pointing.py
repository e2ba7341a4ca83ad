"""Which head points at which part: cases with a known answer, and real birds."""

import json

import numpy as np
import pytest
import torch

from crate_transformer.data import PartArrays, crop_parts, normalise, open_part_samples
from crate_transformer.evaluation import part_pointing
from crate_transformer.evaluation.candidates import Candidates
from crate_transformer.evaluation.part_places import RADIUS
from crate_transformer.inspection import attention_maps
from crate_transformer.models import build_model
from crate_transformer.reports.parts import consistency_table, parts_statements, parts_table
from crate_transformer.storage import plain

TINY = {"img_size": 32, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}
GRID, SIDE, COUNT = 8, 32, 40


def birds(regions=False):
    """Eyes anywhere in a box that is the whole image, tails always in the same place; ten species."""
    generator = np.random.default_rng(0)
    points = np.full((COUNT, 3, 2), np.nan)
    points[:, 0] = 4 * generator.integers(0, GRID, (COUNT, 2)) + 2
    points[:, 1] = 26, 6
    shown = None
    if regions:
        shown = np.zeros((COUNT, 3, SIDE, SIDE), dtype=bool)
        for image, (x, y) in enumerate(points[:, 0].astype(int)):
            shown[image, 0, y, x] = True
        shown[:, 1, 6, 26] = True
    return PartArrays(
        pixels=torch.randint(0, 256, (COUNT, 3, SIDE, SIDE), dtype=torch.uint8),
        boxes=np.array([[0.0, 0.0, SIDE, SIDE]] * COUNT),
        points=None if regions else points,
        regions=shown,
        parts=("eye", "tail", "horn"),
        groups=tuple(f"species {index % 10}" for index in range(COUNT)),
        names=tuple(map(str, range(COUNT))),
    ), points[:, 0]


@pytest.fixture
def oracle(monkeypatch):
    """Models are replaced by maps: layer 1, head 2 of the first is strongest at the eye, all others are noise."""

    def install(eyes):
        calls = []

        def of_model(model, pixels, preprocessing, show=False):
            maps = np.random.default_rng(len(calls)).random((6, len(pixels), GRID, GRID))
            if not calls:
                for image, (x, y) in enumerate(eyes.astype(int)):
                    maps[5, image, y // 4, x // 4] = 2
            calls.append(model)
            choices = tuple({"layer": layer, "head": head} for layer in range(2) for head in range(3))
            return Candidates(maps=maps, choices=choices)

        monkeypatch.setattr("crate_transformer.evaluation.pointing.of_model", of_model)

    return install


@pytest.mark.parametrize("regions", [False, True])
def test_a_head_that_looks_at_the_eye_is_found_and_the_prior_finds_what_does_not_move(oracle, regions):
    arrays, eyes = birds(regions)
    oracle(eyes)
    model = build_model("crate_tiny_patch16_224", **TINY)
    found = part_pointing(model, arrays, baseline=build_model("vit_tiny_patch16_224", **TINY))
    eye, tail = found.measures["eye"], found.measures["tail"]
    assert eye.rows["model"].mean == 1.0 and eye.rows["model"].choices == ({"layer": 1, "head": 2},)
    assert set(eye.above) == {"untrained", "baseline", "position_prior", "shuffled"} and not eye.not_above
    assert tail.rows["position_prior"].mean == 1.0 and "position_prior" in tail.not_above
    assert found.skipped == ("horn",)
    assert len(found.selection_groups) == len(found.reported_groups) == 5
    assert not set(found.selection_groups) & set(found.reported_groups)
    assert found.num_reported == {"eye": 20, "tail": 20} == found.num_selection
    assert found.species_above("eye") == (5, 5) and found.species_above("tail") == (0, 5)
    assert found.accuracy[1, 2, 0] == found.selection_accuracy[1, 2, 0] == 1.0
    assert np.isnan(found.accuracy[..., 2]).all()
    table = parts_table("birds", found)
    assert table.rows[0][:3] == ["eye", "1.2", "1.000±0.000"] and table.highlight == [0]
    assert "baseline" in table.columns and len(consistency_table("birds", found).rows) == 2
    assert parts_statements(found)[0].endswith("above every control: eye")
    json.dumps(plain(found.to_dict()))


def test_a_patch_is_at_a_point_within_the_radius_and_at_a_region_that_it_touches(oracle):
    arrays, eyes = birds()
    distance = RADIUS * SIDE  # 4.8 pixels: one patch of 4 aside, or none of two
    for aside, right in ((4, True), (8, False)):
        step = np.array([aside, 0])
        moved = np.where(eyes[:, :1] + aside < SIDE, eyes + step, eyes - step)
        oracle(moved)
        found = part_pointing(build_model("crate_tiny_patch16_224", **TINY), arrays)
        assert found.accuracy[1, 2, 0] == right == (aside <= distance)
        regions, _ = birds(regions=True)
        oracle(moved)
        found = part_pointing(build_model("crate_tiny_patch16_224", **TINY), regions)
        assert found.accuracy[1, 2, 0] == 0  # the regions are single pixels


def test_strongest_patches_are_compared_with_the_part_in_images_of_other_species_alone(oracle):
    arrays, _ = birds()
    numbers = np.array([int(name.split()[1]) for name in arrays.groups])
    eyes = 8.0 * np.stack([numbers % 4, numbers // 4], axis=1) + 2  # one place for each species, two patches apart
    arrays.points[:, 0] = eyes
    oracle(eyes)
    found = part_pointing(build_model("crate_tiny_patch16_224", **TINY), arrays).measures["eye"]
    assert (found.rows["model"].mean, found.rows["shuffled"].mean) == (1.0, 0.0)
    assert found.limit > 2.5  # five species


def test_two_species_are_too_few(oracle):
    arrays, eyes = birds()
    oracle(eyes)
    alone = PartArrays(**{**vars(arrays), "groups": ("robin", "wren") * (COUNT // 2)})
    with pytest.raises(ValueError, match=r"the species are only robin and wren: .* needs three"):
        part_pointing(build_model("crate_tiny_patch16_224", **TINY), alone)


@pytest.mark.parametrize("folder", ["cub_parts/open", "car_parts/open", "pets/open"])
def test_hits_in_real_images_are_those_of_a_slow_count(shared, folder):
    samples = open_part_samples(shared / "data" / folder)
    arrays = crop_parts(samples.spread(12), samples.parts, SIDE)
    model = build_model("crate_tiny_patch16_224", **TINY)
    found = part_pointing(model, arrays)
    assert found.measures and bool(found.by_group) == samples.has_groups
    maps = attention_maps(model, normalise(arrays.pixels, model.preprocessing)).maps
    for part, measure in found.measures.items():
        (choice,), number, hits = measure.rows["model"].choices, arrays.parts.index(part), []
        for image, group in enumerate(arrays.groups):
            here = maps[image, choice["layer"], choice["head"]]
            row, column = divmod(int(here.argmax()), GRID)
            if arrays.points is None:
                region = arrays.regions[image, number]
                seen, hit = region.any(), region[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].any()
            else:
                (x, y), (left, top, right, bottom) = arrays.points[image, number], arrays.boxes[image]
                seen, far = not np.isnan(x), np.hypot(4 * column + 2 - x, 4 * row + 2 - y)
                hit = far <= RADIUS * max(right - left, bottom - top)
            if seen and group in found.reported_groups:
                hits.append(hit)
        assert len(hits) == found.num_reported[part]
        assert measure.rows["model"].mean == pytest.approx(np.mean(hits))
