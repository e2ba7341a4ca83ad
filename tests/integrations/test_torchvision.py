"""A torchvision that does not go with this torch stops no integration."""

import os
import subprocess
import sys

import pytest

IMPORT = """
import importlib.metadata, warnings
importlib.metadata.version = lambda name: "0.28.0"
from crate_transformer.integrations.torchvision import import_torchvision

with warnings.catch_warnings(record=True) as caught:
    import_torchvision()
    import_torchvision()
print(*[f"{w.category.__name__}: {w.message}" for w in caught], sep="\\n")
"""


@pytest.fixture
def imported(tmp_path):
    """What importing a torchvision with this code says."""

    def ask(code, use=""):
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(code)
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-c", IMPORT + use],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            timeout=120,
        )

    return ask


def test_operators_that_could_not_be_loaded_are_declared_and_still_refuse_to_compute(imported):
    registering = "".join(
        f"@torch.library.register_fake('torchvision::{name}')\ndef {name}(dets, scores, iou_threshold): pass\n"
        for name in ("nms", "qnms")
    )
    use = "torch = __import__('torch'); torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    done = imported("import torch\n" + registering, use)
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("RuntimeWarning: torchvision 0.28.0 was not built for PyTorch")
    assert "docs/install.md" in warning
    assert "NotImplementedError: Could not run 'torchvision::nms'" in done.stderr


def test_one_that_fits_is_imported_in_silence(imported):
    done = imported("fits = True", "import torchvision; print(torchvision.fits)")
    assert (done.stdout.split(), done.stderr) == (["True"], "")


def test_one_that_is_broken_otherwise_is_refused_in_a_sentence(imported):
    done = imported("raise RuntimeError('no such symbol')")
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("ImportError: torchvision 0.28.0 was not built for PyTorch") and "symbol" in sentence


def test_without_torchvision_nothing_happens(imported):
    done = imported("raise ModuleNotFoundError('not here', name='torchvision')")
    assert (done.stdout.strip(), done.stderr) == ("", "")
