"""``crate quickstart`` from beginning to end, with hardly any training."""

import html
import json
import os
import re
import signal

import jaxtyping
import pytest

from crate_transformer.cli import main
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.data import digits
from crate_transformer.recipes import explorer_pages, run, tasks
from crate_transformer.recipes import quickstart as recipe
from crate_transformer.recipes.quickstart import QuickstartConfig, quickstart
from crate_transformer.training.tasks.classification import Classification

SMALL = QuickstartConfig(steps=2, train_images=128, test_images=40)
ROWS = {"crate", "crate_untrained", "crate_shuffled", "vit", "vit_untrained", "mean_mask_prior", "brightness"}


def fewer(patch):
    """Photographs, images to choose heads on and untrained models, which take most of the time."""
    patch.setattr(recipe, "SUBJECTS", {name: recipe.SUBJECTS[name] for name in ("cat", "astronaut")})
    for place in ("inspection.controls", "recipes.quickstart"):
        patch.setattr(f"crate_transformer.{place}.UNTRAINED_MODELS", 2)
    patch.setattr(recipe, "digits", lambda part, count, seed: digits(part, min(count, 64), seed=seed))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Interrupted at the first step of the second model, then run again."""
    folder, steps = tmp_path_factory.mktemp("quickstart"), []

    class Interrupting(Classification):
        def forward(self, batch, progress):
            steps.append(type(self.model).__name__)
            if len(steps) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().forward(batch, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks._TASKS, ClassificationConfig, Interrupting)
        for name, value in (("PHOTOGRAPHS", ("cat",)), ("SHOWN", 2), ("REFERENCES", 20)):
            patch.setattr(explorer_pages, name, value)
        fewer(patch)
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        with pytest.raises(KeyboardInterrupt):
            quickstart(folder, SMALL, show=False)
        assert not (folder / "metrics.json").exists()
        page = quickstart(folder, SMALL, show=False)
    return page, steps


def test_interrupted_and_run_again_it_goes_on(finished):
    assert finished[1] == ["CRATE", "CRATE", "ViT", "ViT"]


def test_the_numbers(finished):
    metrics = json.loads((finished[0].parent / "metrics.json").read_text())
    assert metrics["accuracy"].keys() == {"crate", "vit"}
    assert all(0 <= value <= 1 for value in metrics["accuracy"].values())
    for name in ("attention_auc", "attention_miou"):
        assert metrics[name].keys() >= ROWS
        assert all(0 < value < 1 for value in metrics[name].values())
    for metric in ("auc", "miou"):
        chosen = metrics["attention_choices"][metric]["crate"]
        assert 0 <= chosen["layer"] < 6 and 0 <= chosen["head"] < 4
    assert metrics["attention_choices"]["miou"]["crate"]["fraction"] > 0
    assert "largest fraction" in metrics["attention_rules"]["threshold_rule"]
    assert metrics["parameters"] == {"crate": 315_370, "vit": 308_042}
    assert metrics["seconds"] > sum(metrics["training_seconds"].values()) > 0
    assert metrics["peak_memory_mb"] > 50
    assert (metrics["seed"], metrics["steps"], metrics["test_images"]) == (0, 2, 40)
    assert all(
        finding["sentence"].startswith(("Seen here", "Not seen at this scale")) for finding in metrics["findings"]
    )


def test_the_page_stands_alone(finished):
    page = finished[0].read_text()
    assert finished[0].name == "report.html"
    for words in ("crate quickstart", "Seed 0", "data:image/png;base64"):
        assert words in page
    assert 'src="http' not in page and "<link" not in page
    for finding in json.loads((finished[0].parent / "metrics.json").read_text())["findings"]:
        assert html.escape(finding["phenomenon"]).replace("&#x27;", "&#39;") in page


def test_the_interactive_pages(finished):
    for name, models, pictures in (("photographs", 1, 1), ("digits", 2, 2)):
        page = (finished[0].parent / f"{name}.html").read_text()
        data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
        assert (len(data["models"]), len(data["pictures"])) == (models, pictures)
        assert all(view["effects"] for picture in data["pictures"] for view in picture["views"])
        assert f'href="{name}.html"' in finished[0].read_text()


@pytest.mark.usefixtures("unchecked")
def test_run_again_it_trains_nothing_and_says_what_it_does(finished, monkeypatch, capsys):
    def refuse(*_arguments, **_options):
        pytest.fail("a finished run was repeated")

    folder = finished[0].parent
    before = json.loads((folder / "metrics.json").read_text())
    monkeypatch.setattr(run, "Trainer", refuse)
    fewer(monkeypatch)
    for page in ("photographs_page", "digits_page", "quickstart_page"):  # which take most of the time
        monkeypatch.setattr(recipe, page, lambda *_: folder)
    quickstart(folder, SMALL, show=True)
    captured = capsys.readouterr()
    assert captured.out.startswith("The bundled model has 100 classes (")
    assert "\nastronaut: none of the model's classes" in captured.out
    stages = [line for line in captured.err.splitlines() if line.startswith("stage ")]
    assert [line.split(",")[0] for line in stages] == [f"stage {number} of 7" for number in range(1, 8)]
    assert all(line.endswith(" left") for line in stages)
    after = json.loads((folder / "metrics.json").read_text())
    for name in ("accuracy", "attention_auc", "attention_miou", "training_seconds", "findings"):
        assert after[name] == before[name]


def test_overwrite_replaces_runs_with_other_settings(monkeypatch, tmp_path):
    """Their error message recommends it."""
    given = {}

    def fit(*_arguments, **options):
        given.update(options)
        raise ValueError("enough")

    fewer(monkeypatch)
    monkeypatch.setattr(recipe, "SUBJECTS", {})
    monkeypatch.setattr(recipe, "fit", fit)
    assert main(["quickstart", "--output", str(tmp_path), "--overwrite"]) == 2
    assert given["overwrite"] is True
