"""The way to the Triton kernels, where there is neither Triton nor a GPU; tests/kernels has the kernels themselves."""

import copy
import sys
import types

import pytest
import torch

from crate_transformer.inspection import record
from crate_transformer.kernels import INTERPRETED, worthwhile
from crate_transformer.layers import MSSA, fuse_kernels
from crate_transformer.layers.fuse_kernels import attend_fused
from crate_transformer.layers.norm_linear import NormLinear
from crate_transformer.models import LANGUAGE_MODELS, build_language_model, build_model

pytestmark = pytest.mark.skipif(INTERPRETED, reason="TRITON_INTERPRET=1 runs the kernels on the CPU too")


@pytest.fixture
def triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))


@pytest.fixture
def model():
    return build_model("crate_micro_patch4_32", depth=2)


def test_without_triton_it_says_so(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(RuntimeError, match="needs triton, which is not installed: pip install triton"):
        fuse_kernels(model)


@pytest.mark.usefixtures("triton")
def test_what_it_puts_into_a_model(model):
    folded = model.fold()
    fuse_kernels(model)
    fuse_kernels(folded)
    fuse_kernels(folded)  # nothing is left to do
    for module in (*model.modules(), *folded.modules()):
        assert not isinstance(module, MSSA) or module.attend is attend_fused
    assert not any(isinstance(module, NormLinear) for module in model.modules())
    assert [name for name, module in folded.named_modules() if isinstance(module, NormLinear)] == [
        "blocks.0.mssa.subspaces", "blocks.0.ista", "blocks.1.mssa.subspaces", "blocks.1.ista",
    ]  # fmt: skip


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("fold", [False, True])
def test_on_a_cpu_nothing_changes(model, fold):
    plain = model.fold() if fold else model
    fused, images = copy.deepcopy(plain), torch.randn(2, 3, 32, 32)
    fuse_kernels(fused)
    torch.testing.assert_close(fused(images), plain(images), rtol=0, atol=0)
    with record(fused, "blocks.*.mssa.attention") as seen:
        fused(images)
    assert len(seen) == 2


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("name", ["crate_mhsa_mini_patch8_64", "cbt_mini_patch8_64", "crate_lm_micro"])
def test_relatives_of_crate_stay_the_same(name):
    language = name in LANGUAGE_MODELS
    plain = (build_language_model if language else build_model)(name, depth=2).eval().fold()
    given = torch.randint(50, (2, 16)) if language else torch.randn(2, 3, 64, 64)
    fused = copy.deepcopy(plain)
    fuse_kernels(fused)
    torch.testing.assert_close(fused(given), plain(given), rtol=0, atol=0)


def test_the_kernels_are_for_16_bits_on_a_gpu():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert worthwhile(gpu, torch.bfloat16) and worthwhile(gpu, torch.float16)
    assert not worthwhile(gpu, torch.float32) and not worthwhile(cpu, torch.bfloat16)
