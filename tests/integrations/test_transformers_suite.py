"""transformers' own model tests, unchanged, on a small CRATE; ``make test-suites`` fetches them."""

import sys
import unittest
from importlib import import_module
from types import ModuleType
from unittest import mock

import pytest
from torch import nn

pytest.importorskip("transformers_tests", reason="make test-suites fetches it")
ABSENT = {"exporters.test_export": "ExportTesterMixin", "generation.test_utils": "GenerationTesterMixin"}
"""Classes that transformers' source distribution lacks: replaced by empty ones."""
for module_name, class_name in ABSENT.items():
    module = ModuleType(f"transformers_tests.{module_name}")
    setattr(module, class_name, type(class_name, (), {}))
    sys.modules[module.__name__] = module
common = import_module("transformers_tests.test_modeling_common")
ours = import_module("crate_transformer.integrations.transformers")


class Tester:
    """What transformers' tests ask for: a configuration and a batch of images."""

    batch_size, image_size, patch_size, num_channels = 3, 16, 4, 3
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4
    is_training = True

    def __init__(self, family, num_prefix_tokens):
        self.family = family
        self.seq_length = num_prefix_tokens + (self.image_size // self.patch_size) ** 2

    def prepare_config_and_inputs_for_common(self):
        names = ("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        config = ours.CrateConfig(self.family, num_labels=3, **{name: getattr(self, name) for name in names})
        shape = [self.batch_size, self.num_channels, self.image_size, self.image_size]
        return config, {"pixel_values": common.floats_tensor(shape)}


class CrateModelTest(common.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (ours.CrateModel, ours.CrateForImageClassification)
    test_resize_embeddings = False  # of words
    model_tester = Tester("CRATE", 1)

    def setUp(self):
        """Let the tests know which class is the base model and which the classifier."""
        for names, ours_is in (
            (common.MODEL_MAPPING_NAMES, "CrateModel"),
            (common.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, "CrateForImageClassification"),
        ):
            patch = mock.patch.dict(names, crate=ours_is)
            patch.start()
            self.addCleanup(patch.stop)

    def test_model_get_set_embeddings(self):
        """As in transformers' tests of its own ViT: embeddings of images are no ``nn.Embedding``."""
        for model_class in self.all_model_classes:
            model = model_class(self.model_tester.prepare_config_and_inputs_for_common()[0])
            assert isinstance(model.get_input_embeddings(), nn.Module)
            other = nn.Linear(1, 1)
            model.set_input_embeddings(other)
            assert model.get_input_embeddings() is other
            assert model.get_output_embeddings() is None


class ToSTModelTest(CrateModelTest):
    model_tester = Tester("ToST", 0)
    has_attentions = False
