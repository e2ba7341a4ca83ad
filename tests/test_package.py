"""Importing the package: at once, and without what only a part of it needs."""

import importlib
import subprocess
import sys

import pytest

import crate_transformer

BLOCKED = ("tyro", "gradio", "kornia", "matplotlib", "lion_pytorch")
IMPORT_ALL = f"""
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Blocker())
import crate_transformer.inspection

slow = {"torch._dynamo", "scipy.stats"} & sys.modules.keys()  # a second and a third of one
count = 0
for module in pkgutil.walk_packages(crate_transformer.__path__, "crate_transformer."):
    parts = ("reports.", "recipes.quickstart", "recipes.report", "kernels.")  # that draw; that need triton
    apart = module.name.startswith(tuple("crate_transformer." + part for part in parts))
    if module.name.split(".")[1] not in ("cli", "integrations", "__main__") and not apart:
        importlib.import_module(module.name)
        count += 1
print(count, *slow)
"""


def run(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)


def test_importing_it_imports_hardly_anything():
    heavy = "{'torch', 'numpy', 'PIL', 'tyro', 'rich'}"
    done = run(f"import sys, crate_transformer; print(dir(crate_transformer)); print({heavy} & sys.modules.keys())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "set()"


def test_the_library_imports_without_what_a_gpu_machine_lacks():
    done = run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


@pytest.mark.parametrize("name", crate_transformer.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(crate_transformer)
    value = getattr(crate_transformer, name)
    assert value.__doc__
    if name in crate_transformer._MODULES:
        assert value is importlib.import_module(f"crate_transformer.{name}")
        assert all(hasattr(value, public) for public in getattr(value, "__all__", ()))


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'crate_transformer' has no attribute 'crate'"):
        crate_transformer.crate  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert crate_transformer.__version__ == version("crate-transformer")


@pytest.mark.parametrize(("module", "extra"), [("timm.models", "timm"), ("transformers", "hf")])
def test_an_integration_without_its_package_says_what_to_install(monkeypatch, module, extra):
    package = module.partition(".")[0]
    ours = f"crate_transformer.integrations.{package}"
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, ours, raising=False)
    told = rf"^{package} cannot be used.*pip install 'crate-transformer\[{extra}\]'"
    with pytest.raises(ImportError, match=told):
        importlib.import_module(ours)
