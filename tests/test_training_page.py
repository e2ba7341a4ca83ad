"""docs/training.md: its shell commands run as they are written, its recipes exist and its numbers are theirs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from documented import run_line
from PIL import Image

from crate_transformer.recipes.dry_run import MEASURED, WARM_UP
from crate_transformer.recipes.registry import RECIPES

ROOT = Path(__file__).parents[1]
PAGE, README = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/training.md", "README.md"))


def shell(page):
    """The words of every line of the page's blocks of shell."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", page)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for file in ("photo.jpg", *(f"my_images/{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(8))):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / file)
    (tmp_path / "my_text.txt").write_text("A white box shows what each layer does. " * 200)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("inputs", "unchecked", "undrawn", "small_defaults")
def test_its_commands_run(capfd):
    """Those that README shows too run in its own test."""
    lines = [line for line in shell(PAGE) if line and line not in shell(README)]
    assert len(lines) > 7
    for line in lines:
        run_line(line, capfd)


def test_every_command_is_one_of_ours_with_options_that_exist():
    from crate_transformer.cli.train import command

    lines = re.sub(r"\\\n\s*", "", PAGE).splitlines()
    asked = [line for line in lines if "-m crate_transformer train" in line or line.startswith("crate train")]
    assert len(asked) > 8
    known = set()
    for task in ("classification", "mae", "language"):
        kind, _ = command(["--task", task])
        names = vars(kind.__origin__)["__dataclass_fields__"]
        known |= {name.replace("_", "-") for name in names}
        for field in names.values():
            nested = getattr(field.default_factory, "__dataclass_fields__", {})
            known |= {name.replace("_", "-") for name in nested}
    from crate_transformer.configs.optimiser import OptimiserConfig

    known |= {name.replace("_", "-") for name in OptimiserConfig.__dataclass_fields__}
    for line in asked:
        ours = line.split(" train ", 1)[1]
        assert not (given := set(re.findall(r"--([a-z-]+)", ours)) - known), f"{line}: {given}"
        for name in re.findall(r"--recipe (\w+)", ours):
            assert name in RECIPES


def test_its_numbers_are_those_of_the_recipes():
    assert f"up to {WARM_UP + MEASURED} steps" in PAGE
    for name, seen in (("cifar10", "200,000"), ("cifar10_conv", "1.4 M"), ("crate_base_imagenet1k", "192 M"),
                       ("crate_base_patch8_imagenet21k", "1,278 M"), ("crate_mae_base_imagenet1k", "1,025 M"),
                       ("tost_small_imagenet1k", "512 M")):  # fmt: skip
        images = RECIPES[name].samples_seen
        told = float(seen.removesuffix(" M").replace(",", "")) * (1e6 if seen.endswith("M") else 1)
        assert seen in PAGE and images == pytest.approx(told, rel=0.01)


def test_readme_leads_here():
    assert "(docs/training.md)" in README
