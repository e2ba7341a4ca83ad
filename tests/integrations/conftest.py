"""The integrations' packages are optional: their tests are skipped with a reason where they are not installed."""

import importlib
import importlib.util
import warnings

import pytest


def _import(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of third parties' imports, and of a torchvision for another torch
        importlib.import_module(f"crate_transformer.integrations.{name}")
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def timm():
    """timm with our models."""
    return _import("timm")


@pytest.fixture(scope="session")
def transformers():
    """transformers with our models."""
    return _import("transformers")
