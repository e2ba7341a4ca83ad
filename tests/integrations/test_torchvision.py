"""A torchvision that does not go with this torch stops no integration."""

import os
import subprocess
import sys

import pytest

from crate_transformer.integrations import torchvision as ours

IMPORT = """
import importlib.metadata, warnings
importlib.metadata.version = lambda name: "0.28.0"
from crate_transformer.integrations.torchvision import import_torchvision

with warnings.catch_warnings(record=True) as caught:
    import_torchvision()
    import_torchvision()
print(*[f"{w.category.__name__}: {w.message}" for w in caught], sep="\\n")
"""


def test_operators_that_could_not_be_loaded_are_declared_and_still_refuse_to_compute(tmp_path):
    """In a process of its own, because operators stay declared."""
    registering = "".join(
        f"@torch.library.register_fake('torchvision::{name}')\ndef {name}(dets, scores, iou_threshold): pass\n"
        for name in ("nms", "qnms")
    )
    use = "torch = __import__('torch'); torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("import torch\n" + registering)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", IMPORT + use],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=120,
    )
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("RuntimeWarning: torchvision 0.28.0 was not built for PyTorch")
    assert "docs/install.md" in warning
    assert "NotImplementedError: Could not run 'torchvision::nms'" in done.stderr


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Puts a torchvision of this code before any other, in this process."""
    before = sys.modules.pop("torchvision", None)
    monkeypatch.setattr(ours, "version", lambda name: "0.28.0")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "torchvision").mkdir()
    yield (tmp_path / "torchvision" / "__init__.py").write_text
    sys.modules.pop("torchvision", None)
    if before is not None:
        sys.modules["torchvision"] = before


def test_one_that_fits_is_imported_in_silence(installed):
    installed("fits = True")
    ours.import_torchvision()
    assert sys.modules["torchvision"].fits


def test_one_that_is_broken_otherwise_is_refused_in_a_sentence(installed):
    installed("raise RuntimeError('no such symbol')")
    with pytest.raises(ImportError, match=r"^torchvision 0.28.0 was not built for PyTorch .*symbol"):
        ours.import_torchvision()


def test_without_torchvision_nothing_happens(installed):
    installed("raise ModuleNotFoundError('not here', name='torchvision')")
    ours.import_torchvision()
    assert "torchvision" not in sys.modules
