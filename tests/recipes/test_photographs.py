import numpy as np
import pytest

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import PHOTOGRAPHS
from crate_transformer.inspection import Look
from crate_transformer.recipes.photographs import SUBJECTS, answer, knowledge
from crate_transformer.recipes.quickstart import BUNDLED

CLASSES = ("goldfish, Carassius auratus", "tabby, tabby cat", "Egyptian cat", "rocking chair, rocker")


def seen(name, *top):
    return Look(name=name, image=np.zeros((8, 8, 3), dtype=np.uint8), top=top, attention=None)


@pytest.mark.parametrize(
    ("name", "top", "told"),
    [
        (
            "cat",
            [(CLASSES[3], 0.4), (CLASSES[2], 0.31), (CLASSES[1], 0.2)],
            "in its top 3 predictions: Egyptian cat 31%, tabby 20%",
        ),
        ("cat", [(CLASSES[3], 0.4), (CLASSES[0], 0.3)], "not in its top 2 predictions"),
    ],
)
def test_a_subject_that_it_knows(name, top, told):
    assert answer(name, seen(name, *top), CLASSES) == f"cat: one of the model's classes (tabby or Egyptian cat), {told}"


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_a_subject_that_it_does_not_know_is_not_given_a_name(name):
    told = answer(name, seen(name, (CLASSES[3], 0.9)), CLASSES)
    assert told == f"{name}: none of the model's classes, so only the attention is shown"


def test_a_model_that_knows_more_is_asked_more():
    told = answer("coffee", seen("coffee", ("cup", 0.5), ("espresso, black", 0.25)), ("cup", "espresso, black", "bee"))
    assert (
        told == "coffee: one of the model's classes (cup or espresso), in its top 2 predictions: cup 50%, espresso 25%"
    )


def test_what_the_bundled_model_knows():
    model = load_checkpoint(BUNDLED)
    assert set(SUBJECTS) <= set(PHOTOGRAPHS)
    words = knowledge(model.class_names, 0.447, 5000)
    assert words.startswith("The bundled model has 100 classes (goldfish, ")
    assert words.endswith("It classifies 45% of 5,000 validation images of these classes correctly.")
