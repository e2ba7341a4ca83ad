"""Every public name says what it is; an equation says where it is from; constants stand on the reference pages."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

import crate_transformer

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs/reference").glob("*.md"))
ALGEBRA = {"fold_norm"}  # its equation holds by itself
INHERITED = {"forward", "extra_repr", "backward", "setup_context"}  # of PyTorch, which says what they are
PACKAGES = [
    package
    for info in pkgutil.walk_packages(crate_transformer.__path__, "crate_transformer.")
    if info.ispkg and not info.name.endswith(("cli", "kernels", "integrations", "benchmarks"))
    if hasattr(package := importlib.import_module(info.name), "__all__")
]
PUBLIC = [(package, name) for package in (crate_transformer, *PACKAGES) for name in package.__all__]


def own_docstring(value, name):
    """What stands in the source: neither what is inherited nor the signature that ``dataclass`` fills in."""
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return "" if doc is None or doc.startswith(f"{name}(") else doc


def undocumented_members(cls):
    """Public methods and properties that neither they nor the method that they replace explain."""
    for name, member in vars(cls).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if (
            name.startswith("_")
            or name in INHERITED
            or not (inspect.isfunction(function) or isinstance(function, property))
        ):
            continue
        if not any(getattr(base, name, None) is not None and getattr(base, name).__doc__ for base in cls.__mro__):
            yield f"{cls.__name__}.{name}"


@lru_cache
def constants():
    """Names that are assigned in a module with a string under them, and that module's file."""
    found = {}
    for file in Path(crate_transformer.__file__).parent.rglob("*.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for statement, text in pairwise(body):
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found |= {target.id: str(file) for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=lambda value: getattr(value, "__name__", value))
def test_every_public_name_says_what_it_is(package, name):
    value = getattr(package, name)
    if get_args(value) or not (callable(value) or inspect.ismodule(value)):
        assert name in constants(), f"{name} has no string under it"
        shown = f"autodata:: {package.__name__}." in REFERENCE and f".{name}\n" in REFERENCE
        assert shown or constants()[name] == package.__file__, f"no reference page shows {name}"
        return
    doc = own_docstring(value, name)
    assert doc.strip()
    if ".. math::" in doc and name not in ALGEBRA:
        assert re.search(r"arXiv \d{4}\.\d{5}|\b(19|20)\d\d\b", doc), "an equation without its paper"
    if inspect.isclass(value):
        assert not list(undocumented_members(value))


def test_every_package_with_public_names_has_a_reference_page():
    shown = set(re.findall(r"automodule:: (\S+)", REFERENCE))
    internal = {"crate_transformer.storage", "crate_transformer.configs", "crate_transformer.models.language"}
    assert {package.__name__ for package in PACKAGES} - internal <= shown
