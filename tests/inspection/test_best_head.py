"""The head stored with weights is read as if a stranger had stored it."""

from dataclasses import replace

import pytest

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.inspection.best_head import BestHead, best_head
from crate_transformer.models import build_model

GOOD = {"layer": 1, "head": 3, "chosen": "by AUC"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("best") / "model"
    made = build_model("crate_micro_patch4_32", depth=2, embed_dim=16, num_classes=2)
    return load_checkpoint(save_checkpoint(made, folder))


def stored(model, entry):
    model.provenance = replace(model.provenance, metadata={"attention": entry})
    return best_head(model)


def test_what_is_stored_is_found_and_more_may_be_stored(model):
    assert stored(model, GOOD) == stored(model, {**GOOD, "auc": [0.7]}) == BestHead(1, 3, "by AUC")
    assert stored(model, None) is None


@pytest.mark.parametrize(
    "wrong", [{"layer": 2}, {"layer": -1}, {"layer": 10**30}, {"layer": "1"}, {"layer": 1.5}, {"layer": True},
              {"head": 4}, {"head": None}, {"chosen": ["by", "AUC"]}]
)  # fmt: skip
def test_a_wrong_entry_is_named(model, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"'attention' in the metadata of .*{name}"):
        stored(model, GOOD | wrong)


@pytest.mark.parametrize("entry", [[], [GOOD], "layer 1", 0, False, {}, {"layer": 1, "head": 3}])
def test_another_kind_of_entry_is_refused(model, entry):
    with pytest.raises(ValueError, match="'attention' in the metadata of"):
        stored(model, entry)
