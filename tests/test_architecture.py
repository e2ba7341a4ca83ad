"""Rules of docs/design.md that a linter does not know; what README and docs/explorer.md show runs as it is written."""

import ast
import functools
import re
import shlex
from pathlib import Path

import pytest
from documented import run_line, run_python

import crate_transformer

SOURCE = Path(crate_transformer.__file__).parent
README = Path(__file__).resolve().parents[1] / "README.md"
FILES = sorted(SOURCE.rglob("*.py"))


@functools.cache
def trees():
    """Name of every file -> its syntax tree."""
    return {str(file.relative_to(SOURCE)): ast.parse(file.read_text()) for file in FILES}


def nodes(kind):
    """(place, node) of every node of this kind in the package."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{name}:{node.lineno}", node


def test_no_drawer_for_everything():
    names = {"utils.py", "common.py", "base.py", "misc.py", "helpers.py", "util.py"}
    assert len(FILES) > 50
    assert not [str(file) for file in FILES if file.name in names]


def test_files_can_be_read_in_a_sitting():
    assert not [f"{file}: {count}" for file in FILES if (count := len(file.read_text().splitlines())) > 250]


def test_every_module_says_what_it_is():
    assert not [name for name, tree in trees().items() if not ast.get_docstring(tree)]


def test_nothing_is_loaded_loosely_or_trustingly():
    loose = [
        place
        for place, call in nodes(ast.Call)
        if ast.unparse(call.func) not in ("zip", "torch.export.export")  # "strict" has another meaning there
        for keyword in call.keywords
        if keyword.arg in ("strict", "weights_only") and ast.unparse(keyword.value) != "True"
    ]
    assert not loose
    loads = [
        (place, call) for place, call in nodes(ast.Call) if ast.unparse(call.func) in ("torch.load", "pickle.load")
    ]
    assert loads and all("weights_only=True" in ast.unparse(call) for _, call in loads), loads


def test_no_device_is_assumed():
    assert not [place for place, call in nodes(ast.Call) if ast.unparse(call.func).endswith(".cuda")]


def test_no_star_imports_and_no_globals():
    stars = [place for place, node in nodes(ast.ImportFrom) if any(alias.name == "*" for alias in node.names)]
    assert not stars + [place for place, _ in nodes(ast.Global)]


def test_a_broad_except_only_translates():
    """It is allowed where foreign code may raise anything, with the reason beside it and one named error after it."""
    for place, handler in nodes(ast.ExceptHandler):
        caught = "" if handler.type is None else ast.unparse(handler.type)
        if caught and not re.search(r"\b(Base)?Exception\b", caught):
            continue
        name, line = place.split(":")
        if name == "cli/ending.py":  # shows what it catches
            continue
        text = (SOURCE / name).read_text().splitlines()[int(line) - 1]
        raised = [node for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc]
        assert caught == "Exception" and raised and "#" in text, f"{place} swallows everything: {text.strip()}"


def test_library_code_does_not_print():
    allowed = ("cli/", "recipes/", "progress.py", "reports/table.py")
    prints = [(place, call) for place, call in nodes(ast.Call) if ast.unparse(call.func) == "print"]
    assert not [place for place, _ in prints if not place.startswith(allowed)]
    raw = [place for place, call in prints if place.startswith("cli/") and "end='\\r'" not in ast.unparse(call)]
    assert {place.split(":")[0] for place in raw} <= {"cli/__init__.py", "cli/terminal.py"}, "use terminal.say"


def blocks(*languages, page=README):
    found = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", page.read_text())
    return [code for language, code in found if language in languages]


def commands(page=README):
    lines = [
        line.strip().removeprefix("$ ")
        for block in blocks("sh", "bash", "console", page=page)
        for line in block.splitlines()
    ]
    lines = [shlex.split(line, comments=True) for line in lines]
    return [line for line in lines if line[:1] == ["crate"] and line[1] != "quickstart"]


@pytest.mark.usefixtures("unchecked", "undrawn", "small_defaults", "two_untrained")
@pytest.mark.parametrize("page", ["README.md", "docs/explorer.md"])
def test_the_commands_of_a_page_run(page, inputs, capfd, monkeypatch):
    """Those that README shows too run with README."""
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)  # which ends with Ctrl-C alone
    lines = commands(README.parent / page)
    expected = {"train", "evaluate", "classify", "inspect"} if page == "README.md" else {"inspect", "explore"}
    assert expected <= {line[1] for line in lines}
    for line in lines if page == "README.md" else [line for line in lines if line not in commands()]:
        run_line(line, capfd)


def test_the_targets_of_readme_exist():
    targets = set(re.findall(r"(?m)^make ([\w-]+)", "\n".join(blocks("sh", "bash", "console"))))
    makefile = (README.parent / "Makefile").read_text()
    assert "quickstart" in targets
    assert not [target for target in targets if not re.search(rf"(?m)^{target}:", makefile)]


@pytest.mark.usefixtures("inputs", "unchecked")
def test_the_python_of_readme_runs():
    whole = [block for block in blocks("python") if block.startswith("import torch\n")]
    assert whole, "README shows no Python that runs by itself"
    for block in whole:
        run_python(block, "README.md", {})


@pytest.mark.usefixtures("inputs", "unchecked")
def test_the_python_of_the_explorer_page_runs():
    first, *rest = blocks("python", page=README.parent / "docs" / "explorer.md")
    known = {}
    for block in (first, *rest):
        run_python(block, "docs/explorer.md", known)
    assert known["logits"].shape == (1, 100) and Path("photo.html").stat().st_size > 100_000


def test_the_links_of_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    local = [link for link in links if "://" not in link]
    assert local
    assert not [link for link in local if not (README.parent / link).exists()]
