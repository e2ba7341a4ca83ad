"""timm's own model tests, unchanged, on small models of ours; ``make test-suites`` fetches them."""

import importlib
import inspect
import warnings

import pytest

pytest.importorskip("timm_tests", reason="make test-suites fetches it")

MODELS = (
    "crate_micro_patch4_32",
    "crate_micro_conv_patch4_32",
    "crate_alpha_mini_patch8_64",
    "crate_mae_micro_patch4_32",
    "tost_tiny_patch16_224",
    "cbt_mini_patch8_64",
    "vit_micro_patch4_32",
)
EVERY_VIT = (
    "model_forward",
    "model_backward",
    "model_default_cfgs_non_std",
    "model_forward_torchscript",
    "model_forward_intermediates_features",
    "model_forward_intermediates",
    "prune_intermediate_layers_contract",
    "model_forward_fx",
    "model_backward_fx",
    "model_forward_fx_torchscript",
)
UNUSED = "prune_intermediate_layers_params_used"
"""A test that timm runs on other models than its ViT."""
MASKED = "crate_mae_micro_patch4_32"
REFUSED = {("model_forward_torchscript", name): "TorchScript, which PyTorch deprecates" for name in MODELS}
REFUSED |= {("model_forward_fx_torchscript", name): "Unknown type constructor|cannot be iterated" for name in MODELS}
REFUSED |= {("model_backward", MASKED): "No gradient for mask_token"}
REFUSED |= {(f"model_{way}_fx", MASKED): "Proxy object cannot be iterated" for way in ("forward", "backward")}
REFUSED |= {(UNUSED, "tost_tiny_patch16_224"): "cls_token"}
"""The reasons are in docs/reference/integrations.md."""


@pytest.fixture(scope="module")
def suite(timm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("timm_tests.test_models")


def parameters(test):
    return {mark.args[0]: mark.args[1] for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"}


def run(suite, name, model):
    test = getattr(suite, f"test_{name}")
    given = {"model_name": model, "cfg_device": "meta", "model_kwargs": {}}
    given |= {key: values[0] for key, values in parameters(test).items() if key == "batch_size"}
    test(**{key: given[key] for key in inspect.signature(test).parameters})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", (*EVERY_VIT, UNUSED))
def test_a_small_model(suite, name, model):
    if (name, model) in REFUSED:
        with pytest.raises(Exception, match=REFUSED[name, model]):
            run(suite, name, model)
    else:
        run(suite, name, model)


@pytest.mark.parametrize("model", ["crate_mini_patch8_64.tiny_imagenet_100"])
def test_bundled_weights(suite, model):
    with pytest.raises(ValueError, match="in_chans=1 does not match the weights"):
        run(suite, "model_load_pretrained", model)
    run(suite, "model_features_pretrained", model)


def test_no_test_of_its_vit_is_missing(suite):
    found = {
        name.removeprefix("test_")
        for name, test in vars(suite).items()
        if "vit_tiny_patch16_224" in {str(model).partition(".")[0] for model in parameters(test).get("model_name", ())}
    }
    assert found == {*EVERY_VIT, "model_load_pretrained"}
