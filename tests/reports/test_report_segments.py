"""Pictures of masks show the masks, and the figures of steps and places draw what was measured."""

import numpy as np
import pytest
import torch

from crate_transformer.inspection import energy_steps, layer_steps, layerwise_objective, untrained_twin
from crate_transformer.models import build_model
from crate_transformer.reports.layerwise import layerwise_figure, steps_figure
from crate_transformer.reports.model_sections import attention_text, energies_text, sparse_text
from crate_transformer.reports.segments import PALETTE, class_picture, classes_over, label_picture, masks_over

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}


def test_labels_count_objects_and_earlier_ones_lie_on_top():
    masks = np.zeros((3, 6, 8), dtype=bool)
    masks[0, :3] = masks[1, 2:5] = True
    expected = np.repeat([1, 1, 1, 2, 2, 0], 8).reshape(6, 8)
    np.testing.assert_array_equal(np.array(label_picture(masks)), expected)


def test_outside_is_darkened_and_inside_tinted_within_a_white_edge():
    image = np.full((9, 9, 3), 100, dtype=np.uint8)
    mask = np.zeros((1, 9, 9), dtype=bool)
    mask[0, 2:7, 2:7] = True
    shown = np.array(masks_over(image, mask))
    assert (shown[0, 0] == 45).all()
    assert (shown[2, 4] == 255).all()
    assert shown[4, 4, 2] > shown[4, 4, 0]
    np.testing.assert_array_equal(np.array(masks_over(image, ~mask & mask)), np.full_like(image, 45))


def test_a_class_has_one_colour_of_its_own_in_masks_and_overlays():
    assert PALETTE.shape == (256, 3) and len(np.unique(PALETTE, axis=0)) == 256
    labels = np.repeat(np.array([0, 1, 254], np.uint8), 3)[None].repeat(4, axis=0)
    picture = class_picture(labels)
    np.testing.assert_array_equal(np.array(picture), labels)
    np.testing.assert_array_equal(np.array(picture.convert("RGB")), PALETTE[labels])
    shown = np.array(classes_over(np.full((4, 9, 3), 100, np.uint8), labels)).astype(int)
    assert (shown[:, [3, 6]] == 255).all()  # borders
    np.testing.assert_allclose(shown[:, [0, 4, 8]], 60 + 0.4 * PALETTE[labels[:, [0, 4, 8]]], atol=0.5)


def test_steps_are_drawn_as_changes_beside_the_untrained_model():
    for family, panels in (("crate_tiny_patch16_224", 2), ("vit_tiny_patch16_224", 1)):
        steps = layer_steps(build_model(family, **TINY), torch.randn(3, 3, 16, 16))
        figure = steps_figure(steps)
        assert len(figure.axes) == panels
        drawn = figure.axes[0].lines[0].get_ydata()
        np.testing.assert_allclose(drawn, (steps.trained.rate_after - steps.trained.rate_before).mean(axis=0))


@pytest.mark.parametrize(("step_size", "condition"), [(1e-3, "holds"), (10.0, "does not hold")])
@pytest.mark.parametrize("family", ["crate_tiny_patch16_224", "crate_alpha_tiny_patch16_224"])
def test_the_page_says_what_the_sparse_step_is_guaranteed_to_do(family, step_size, condition):
    steps = layer_steps(build_model(family, **TINY, step_size=step_size), torch.randn(2, 3, 16, 16))
    text = sparse_text(steps.trained.sparse, steps.untrained.sparse)
    assert f"the condition {condition}" in text and f"1/&eta; is {1 / step_size:.3g}." in text
    assert f"{steps.trained.sparse.lowered.mean():.0%} of the tokens" in text
    assert ("from 0" in text) == ("alpha" in family) and ("feasible start" in text) == ("alpha" not in family)
    assert sparse_text(None, None) == ""


def test_the_page_does_not_say_that_a_vit_was_derived_to_compress():
    images = torch.randn(2, 3, 16, 16)
    texts = {
        family: attention_text(layer_steps(build_model(f"{family}_tiny_patch16_224", **TINY), images))
        for family in ("crate", "vit", "tost")
    }
    assert "MSSA approximates" in texts["crate"]
    assert "not derived" in texts["vit"] and "not derived" in texts["tost"]


@pytest.mark.parametrize("steps", ["shared", "constant"])
def test_the_page_tells_whether_untrained_steps_change_anything(steps):
    options = TINY | {"time_dim": 4, "steps": steps}
    model, images = build_model("hyper_set_512_patch14_224", **options), torch.randn(2, 3, 16, 16)
    found, learned = layer_steps(model, images), steps == "shared"
    assert ("(untrained model: unchanged)" in attention_text(found)) == found.untrained.unchanged == learned
    energies = energy_steps(untrained_twin(model), images)
    text = energies_text(energies, energies, "2 images")
    assert ("(untrained model: nothing changes, its step sizes are zero)" in text) == energies.unchanged == learned
    share = f"{energies.attention_lowered.mean():.0%} and {energies.feed_forward_lowered.mean():.0%}"
    assert (f"(untrained model: {share})" in text) == (not learned) == ("may be negative" not in text)


def test_checkpoints_share_one_figure_if_they_were_measured_at_one_place():
    model, images = build_model("crate_tiny_patch16_224", **TINY), torch.randn(2, 3, 16, 16)
    half = layerwise_objective(model, images, place="half")
    figure = layerwise_figure({f"epoch {epoch}": half for epoch in (1, 10, 100)})
    assert "after attention" in figure.axes[0].get_ylabel()
    assert len(figure.axes[0].lines) == 6
    for other in (
        {},
        {"place": "half", "normalisation": "none"},
        {"place": "half", "epsilon_squared": 1.0},
    ):
        with pytest.raises(
            ValueError, match=r"these differ in place, normalisation or epsilon squared: .*'half', 'head'"
        ):
            layerwise_figure({"a": half, "b": layerwise_objective(model, images, **other)})
