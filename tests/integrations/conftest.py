"""The integrations' packages are optional: their tests are skipped with a reason where they cannot be imported."""

import importlib
import warnings

import pytest
import torch


def _import(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def timm():
    """timm with our models; beside a torchvision built for another torch, its two missing operators are declared."""
    try:
        try:
            module = _import("timm")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            module = _import("timm")
            module.kept = library
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported: {error}")
    _import("crate_transformer.integrations.timm")
    return module


@pytest.fixture(scope="session")
def transformers():
    """transformers with our models."""
    try:
        module = _import("transformers")
        _import("crate_transformer.integrations.transformers")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"transformers cannot be imported: {error}")
    return module
