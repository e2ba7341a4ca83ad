"""The wheel and the sdist hold what the package needs, and nothing else."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

import crate_transformer

ROOT = Path(__file__).parents[1]
SOURCES = ("explorer/page/src/", "explorer/page/package")  # of explorer/page/page.js
USE = """
import pathlib, sys
import crate_transformer as ct
from crate_transformer.checkpoints import list_pretrained
from crate_transformer.data.photographs import photograph
from crate_transformer.data.wordnet import imagenet_words

assert pathlib.Path(ct.__file__).is_relative_to(sys.prefix), ct.__file__
assert all(ct.create_model(name, pretrained=True) for name in list_pretrained())
assert (len(imagenet_words("1k")), len(imagenet_words("21k"))) == (1000, 21844)
photograph("cat").save("cat.png")
"""


def run(*command, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=900, env=environment, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of this checkout and the wheel that is made of it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


def tracked():
    """What git knows of the package, by its path below ``crate_transformer``."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/crate_transformer", cwd=ROOT)
    return {name.removeprefix("src/crate_transformer/") for name in listed.splitlines()}


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert all(name.startswith(("crate_transformer/", "crate_transformer-")) for name in names)
    held = {name.removeprefix("crate_transformer/") for name in names if not name.startswith("crate_transformer-")}
    assert held == {name for name in tracked() if not name.startswith(SOURCES)}
    assert {"py.typed", "explorer/page/page.js", "reports/page.html.j2"} <= held


@pytest.mark.slow
def test_the_sdist_holds_the_sources_without_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {name.removeprefix("src/crate_transformer/") for name in names if name.startswith("src/")} == tracked()
    assert {"pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "docs/design.md"} <= names
    assert not [name for name in names if name.startswith(("tests", ".venv", ".ci", "runs")) or "node_modules" in name]


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment(built, tmp_path):
    """Its dependencies are those of this environment, by a path that comes after its own packages."""
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    (wheel,) = built.glob("*.whl")
    run(scripts / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (own / "dependencies.pth").write_text(str(Path(torch.__file__).parents[1]))
    run(scripts / "python", "-W", "error", "-c", USE, cwd=tmp_path)
    run(scripts / "crate", "inspect", "cat.png", "--output", "inspected", cwd=tmp_path)
    assert (tmp_path / "inspected" / "report.html").stat().st_size > 1_000_000  # with the interactive page


def test_what_is_cited_is_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == crate_transformer.__version__
    papers = {paper["identifiers"][0]["value"].removeprefix("arXiv:"): paper for paper in cited["references"]}
    assert papers.keys() == {"2306.01129", "2405.20299", "2404.02446", "2412.17810"}
    assert all(paper["url"].endswith(number) for number, paper in papers.items())
