"""All measures of one set beside their controls: differences that can be worked out by hand, and real animals."""

import json

import numpy as np
import pytest

from crate_transformer.checkpoints import list_pretrained, load_checkpoint
from crate_transformer.data import find_segmentation, open_segmentation
from crate_transformer.evaluation import compare, compare_draws, emergence
from crate_transformer.reports.emergence import emergence_tables, statements
from crate_transformer.storage import plain


def test_a_model_is_above_a_control_if_the_paired_difference_is_above_two_standard_errors():
    base = np.linspace(0, 1, 11)
    ripple = np.where(np.arange(11) % 2, 0.05, -0.05)
    found = compare({"model": base + 0.1, "steady": base, "close": base + 0.1 - ripple, "same": base + 0.1})
    assert found.rows["model"].mean == pytest.approx(0.6)
    assert found.rows["model"].standard_error == pytest.approx(base.std(ddof=1) / 11**0.5)
    assert found.differences["steady"].mean == pytest.approx(0.1)
    assert found.differences["steady"].standard_error == pytest.approx(0, abs=1e-12)
    assert found.above == {"steady": True, "close": False, "same": False}
    assert found.not_above == ("close", "same")
    drawn = compare_draws(
        {"model": 0.5, "far": 0.1, "near": 0.45},
        {"model": np.array([0.4, 0.6]), "far": np.array([0.05, 0.15]), "near": np.array([0.5, 0.4])},
    )
    assert drawn.above == {"far": True, "near": False}
    assert drawn.differences["far"].standard_error == pytest.approx(np.std([0.35, 0.45], ddof=1))


def test_errors_over_species_are_larger_where_images_of_a_species_are_alike():
    species, shift = np.repeat(np.arange(5), 8), np.array([0.3, 0.1, 0.2, 0.0, 0.4])
    alike = {"model": 0.5 + shift[species], "control": np.full(40, 0.5)}
    found = compare(alike, groups=species).differences["control"]
    assert found.mean == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(shift.std(ddof=1) / 5**0.5)
    assert found.standard_error > 2 * compare(alike).differences["control"].standard_error
    alone = compare(alike, groups=np.arange(40))
    assert alone.differences["control"].standard_error == pytest.approx(
        compare(alike).differences["control"].standard_error
    )
    # Student's t of four degrees of freedom exceeds 2.87 as often as a normal variable exceeds 2: in 2.3% of all cases
    assert compare(alike, groups=species).limit == pytest.approx(2.87, abs=0.005)
    assert alone.limit == pytest.approx(2.0, abs=0.1)
    assert compare(alike, groups=species).above == {"control": False} and compare(alike).above == {"control": True}
    assert compare(alike, groups=np.zeros(40)).above == {"control": False}  # one species tells nothing about others


@pytest.mark.parametrize("folder", ["pets/open", pytest.param("horses/open", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("two_untrained")
def test_real_animals(shared, folder):
    if not (bundled := list_pretrained()):
        pytest.skip("there are no bundled weights")
    samples = open_segmentation(shared / "data" / folder).first(20)
    model, seen = load_checkpoint(bundled[-1]), []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    found = emergence(model, samples, size=64, maskcut_size=0)
    assert sum(seen) == len(samples)  # all measures are of the same maps
    assert set(found.measures) == {"auc", "miou", "miou_entries", "miou_mass", "corloc"}
    auc = found.measures["auc"]
    assert auc.rows["model"].mean > 0.7 and auc.above["brightness"] and auc.above["untrained"]
    assert auc.rows["model"].choices[0].keys() == {"layer", "head", "sign"}
    for measure in found.measures.values():
        cues = {"brightness", "contrast", "median_difference"}
        assert measure.above.keys() == {"untrained", "shuffled", "mean_mask_prior"} | cues
    table, _ = emergence_tables("animals", found)
    assert table.rows[0][1] == str(auc.rows["model"]) and len(table.rows) == 7
    said = statements(found)
    assert ("not above" in said[0]) == bool(auc.not_above)
    assert any("chosen on 10 images and are reported on the other 10" in sentence for sentence in said)
    json.dumps(plain(found.to_dict()))


def test_sets_are_found_below_a_folder_and_parts_left_out(shared):
    found = find_segmentation(shared / "data")
    assert {"coco_val100", "pets/open", "horses/open", "ecssd/open"} <= found.keys()
    assert not [name for name in found if "car_parts" in name or "cub_parts" in name]
    assert list(find_segmentation(shared / "data/horses/open")) == ["open"]
    with pytest.raises(ValueError, match="contains none: a set needs"):
        find_segmentation(shared / "data/imagenet_samples")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        find_segmentation(shared / "data/README.md")
