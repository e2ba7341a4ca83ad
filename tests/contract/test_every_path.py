"""Whatever way a model is run, it answers and learns as its equations say in float64.

Memory that an operation forgot to write holds NaN here.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compiled_paths import compare_compiled
from test_every_model import CLASSES, toy
from ways import LANGUAGE, SIZES, VISION, WAYS, build, compare, reference

from crate_transformer.models import CRATE


@pytest.fixture(autouse=True)
def _poisoned():
    """PyTorch fills what it allocates with NaN, and refuses operations whose result depends on chance."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(4).isnan().all()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.mark.parametrize("name", [*VISION, *LANGUAGE])
@pytest.mark.parametrize("way", WAYS)
def test_it_answers_and_learns_as_in_float64(way, name):
    compare(build(name).to(WAYS[way].dtype), WAYS[way], SIZES, f"{name} {way}")


@pytest.mark.parametrize("name", ["crate_micro_conv_patch4_32", "vit_micro_conv_patch4_32"])
@pytest.mark.parametrize("way", ["plain", "folded", "checkpointed in float64", "packed"])
def test_with_a_convolutional_stem(way, name):
    compare(build(name).to(WAYS[way].dtype), WAYS[way], SIZES, f"{name} {way}")


@pytest.mark.parametrize("way", ["plain in float64", "autocast", "packed"])
def test_many_wide_pictures(way):
    """What is done piece by piece at this size is whole at that of toys."""
    model = toy("crate_micro_patch4_32", embed_dim=400, num_heads=8, depth=1, img_size=32).to(WAYS[way].dtype)
    compare(model, WAYS[way], [(34, 32, 32), (1, 32, 32)], way)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", VISION)
def test_an_exported_folded_model_answers_the_same(name):
    model = build(name).eval()
    exact, batch = reference(model), torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model.fold(), (torch.randn(2, 3, 16, 24),), dynamic_shapes=({0: batch},)).module()
    images = torch.randn(5, 3, 16, 24)
    with torch.no_grad():
        error = (program(images) - exact(images.double())).norm() / exact(images.double()).norm()
    assert error < 1e-5, error


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
def test_compiled():
    compare_compiled(CLASSES[CRATE], "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "names"),
    [
        ("aot_eager", [name for name in (*VISION, *LANGUAGE) if name != CLASSES[CRATE]]),
        ("inductor", [VISION[0], VISION[-1]]),
    ],
)
def test_all_compiled(backend, names):
    """In a process of its own, which keeps what was compiled."""
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name("compiled_paths.py"), backend, *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.split() == names
