"""What a checkpoint says about itself reaches terminal and Markdown as text, and briefly."""

import pytest

from crate_transformer.checkpoints import Provenance, model_card
from crate_transformer.models import build_model

HOSTILE = {
    "note": "<script>alert(1)</script> [link](http://example.org) `code`",
    "escape": "\x1b]0;title\x07\x1b[2J",
    "table": "|x|\n# heading",
    "license": "mit\n---\n<script>",
    "right to left": "\u202egnp.exe",
    "\x1b[31mname": 1,
    "split": {"held_out": [f"{number:064x}" for number in range(5000)]},
    "long": "a" * 10_000,
}


@pytest.fixture
def model():
    model = build_model("crate_micro_patch4_32", num_classes=2)
    model.provenance = Provenance(source="runs/\x1b[1mx", format="f", family="CRATE", metadata=HOSTILE)
    return model


def test_text_from_files_cannot_steer_the_terminal(model):
    told = str(model.provenance)
    assert "\x1b" not in told and "\x07" not in told and "\u202e" not in told
    assert r"runs/\x1b[1mx" in told and r"\x1b]0;title\x07\x1b[2J" in told
    assert len(told.splitlines()) == 2 and len(told) < 2000


def test_of_many_values_only_some_are_told():
    told = str(Provenance(source="x", format="f", family="CRATE", metadata={str(n): n for n in range(1000)}))
    assert "19 19, and 980 more" in told and "20 20" not in told


def test_text_from_files_is_text_in_the_card(model):
    card = model_card(model, "a`b<i>", HOSTILE)
    front, _, rest = card.removeprefix("---\n").partition("---\n")
    assert "license" not in front
    for raw in ("<script>", "\x1b", "\u202e", "[link]", "<i>"):
        assert raw not in rest.replace('load_checkpoint("a`b<i>")', "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\[link\\]" in rest
    assert r"| table | \|x\|\n# heading |" in rest
    assert "| split / held_out | (5,000 values) |" in rest
    assert len(card) < 10_000
    assert model_card(model, "x", {"license": "apache-2.0"}).startswith(
        "---\nlibrary_name: crate-transformer\ntags: [white-box, crate]\npipeline_tag: image-classification\n"
        "license: apache-2.0\n---\n"
    )


def test_a_table_has_an_end(model):
    assert model_card(model, "x", {str(n): n for n in range(10_000)}).count("\n") < 400
