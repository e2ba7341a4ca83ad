"""Where the kernels run: on a GPU, or by Triton's interpreter on the CPU (``make test-triton``)."""

import numpy as np
import pytest
import torch

from crate_transformer.kernels import INTERPRETED


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    pytest.importorskip("triton", reason="triton is not installed: make test-triton")
    if request.param == "cpu":
        if not INTERPRETED:
            pytest.skip("TRITON_INTERPRET=1 is not set: make test-triton")
        request.getfixturevalue("_mended_interpreter")
    elif INTERPRETED or not torch.cuda.is_available():
        pytest.skip("no GPU, or TRITON_INTERPRET=1 is set")
    return torch.device(request.param)


@pytest.fixture
def _mended_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.6 multiplies the bits of bfloat16 (its issue 11584) and rounds to it towards zero, where a GPU rounds to
    the nearest; bounds of its loops fail with numpy 2.4."""
    import triton.language as tl
    from triton.runtime import interpreter

    def product(self, a, b, *rest):
        return multiply(self, wide(a), wide(b), *rest)

    def wide(x):
        if x.dtype != tl.bfloat16:
            return x
        return interpreter.TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def rounded(values, before, after, mode):
        if (before, after) != (tl.float32, tl.bfloat16):
            return convert(values, before, after, mode)
        return torch.from_numpy(values.astype(np.float32)).bfloat16().view(torch.int16).numpy()

    def language(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    multiply, convert = interpreter.InterpreterBuilder.create_dot, interpreter._convert_float
    patch = interpreter._patch_lang_tensor
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", product)
    monkeypatch.setattr(interpreter, "_convert_float", rounded)
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", language)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds not-a-number, so that nothing unwritten passes."""

    def new_empty(x, *shape, **kind):
        return x.new_full(shape[0] if isinstance(shape[0], tuple) else shape, torch.nan, **kind)

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    monkeypatch.setattr(torch, "empty_like", lambda x: torch.full_like(x, torch.nan))
