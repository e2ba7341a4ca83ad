"""Everything asked of a model at once."""

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.inspection import look_inside, untrained_twin
from crate_transformer.models import build_model


def noise(count: int) -> list[tuple[str, Image.Image]]:
    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)
    return [(f"{number}.png", Image.fromarray(pixels)) for number, pixels in enumerate(drawn)]


def test_large_crops_are_few_and_numbers_are_of_all():
    model = build_model("crate_micro_patch4_32", img_size=16, embed_dim=8, depth=2, num_heads=2, num_classes=2)
    inside = look_inside(model.eval(), noise(10), short_side=16, heads_layer=0)
    assert inside.crops.shape == (8, 32, 32, 3) and inside.cuts.masks.shape == (8, 3, 8, 8)
    assert len(inside.looks) == len(inside.steps.trained.rate_before) == len(inside.heads.maps) == 10
    assert inside.heads.layer == 0 and inside.cuts.layer == inside.components.layer == 1 and not inside.missing
    np.testing.assert_allclose(inside.steps.trained.rate_before, inside.objective.subspace_rate, rtol=1e-4)


def test_controls_are_the_untrained_twin():
    model = untrained_twin(build_model("crate_micro_patch4_32", img_size=16, embed_dim=8, depth=1, num_heads=2))
    inside = look_inside(model, noise(2), short_side=16)
    np.testing.assert_array_equal(inside.steps.trained.rate_after, inside.steps.untrained.rate_after)
    np.testing.assert_array_equal(inside.geometry.trained.gram, inside.geometry.untrained.gram)
    np.testing.assert_array_equal(inside.objective.nonzero, inside.objective.untrained_nonzero)
    np.testing.assert_array_equal(inside.heads.summary.consistency, inside.heads.summary.untrained_consistency)


@pytest.mark.parametrize("family", ["hyper_set_512_patch14_224", "crate_512_patch14_224"])
def test_a_model_without_class_token_lacks_only_its_attention(family):
    shape = {"img_size": 16, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2, "num_classes": 2}
    model = build_model(family, **shape, class_token=False, global_pool="avg").eval()
    inside = look_inside(model, noise(2), short_side=16)
    assert inside.heads is None and all(look.attention is None and look.top for look in inside.looks)
    assert inside.geometry and (inside.energies is not None) == (family == "hyper_set_512_patch14_224")
    assert inside.missing == (f"this {type(model).__name__} has no class token: no attention maps and no comparison of "
                              "heads",)  # fmt: skip


def test_no_pictures():
    with pytest.raises(ValueError, match="at least one image"):
        look_inside(build_model("crate_micro_patch4_32", depth=1), [], short_side=16)


@pytest.mark.parametrize(
    "family",
    [
        "crate_micro_patch4_32",
        "vit_micro_patch4_32",
        "tost_tiny_patch16_224",
        "cbt_tiny_patch16_224",
        "hyper_set_512_patch14_224",
    ],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_every_precision_are_looked_into_and_left_as_they_were(family, dtype):
    patch = 8 if "tost" in family else 4
    model = build_model(family, img_size=16, patch_size=patch, embed_dim=8, depth=2, num_heads=2, num_classes=2)
    model.to(dtype).train()
    model.blocks[1].eval()
    modes = [part.training for part in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    inside = look_inside(model, noise(3), short_side=16)
    assert all(np.isfinite(rates).all() for rates in (inside.steps.trained.rate_after, inside.objective.nonzero))
    assert (inside.energies is None) == (family != "hyper_set_512_patch14_224") == (inside.untrained_energies is None)
    assert [part.training for part in model.modules()] == modes
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
