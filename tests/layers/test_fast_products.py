"""Whether 16-bit products are in hardware is found by timing them."""

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crate_transformer.layers import fast_products as module
from crate_transformer.layers.fast_products import fast_products


@pytest.fixture(autouse=True)
def _forgotten():
    fast_products.cache_clear()
    yield
    fast_products.cache_clear()


@pytest.mark.parametrize(("seconds", "fast"), [(0.3, True), (0.7, True), (0.8, False), (1.3, False), (40.0, False)])
def test_faster_than_float32_by_a_quarter(monkeypatch, seconds, fast):
    asked = []
    monkeypatch.setattr(module, "_seconds", lambda *of: asked.append(of) or {torch.float32: 1.0, of[0]: seconds})
    assert [fast_products(torch.bfloat16), fast_products(torch.bfloat16)] == [fast, fast]
    assert asked == [(torch.bfloat16, "cpu")]  # once
    assert not fast_products(torch.bfloat16, "mps")


def test_what_goes_on_around_it_does_not_matter(monkeypatch):
    """Each product runs in its own precision, also under autocast, and nobody's counter sees it."""
    seen = []

    def measure(dtype, kind):
        ones = torch.ones(2, 2)
        seen.extend([(ones @ ones).dtype, torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()])
        return seconds(dtype, kind)

    seconds = module._seconds
    monkeypatch.setattr(module, "_seconds", measure)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), FlopCounterMode(display=False) as counter:
        assert fast_products(torch.bfloat16) in (True, False)
    assert seen == [torch.float32, False, False]
    assert counter.get_total_flops() == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="this processor has no AVX2 to be held to")
def test_a_processor_of_avx2_alone_has_none():
    held = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    script = (
        "import torch; from crate_transformer.layers.fast_products import fast_products as fast;"
        "print([fast(torch.bfloat16), fast(torch.float16)])"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **held}, capture_output=True, text=True)
    assert done.stdout.strip() == "[False, False]", done.stderr
