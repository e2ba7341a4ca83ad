"""The Triton kernels against their equations in float64."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.inspection import record
from crate_transformer.layers import MSSA, fuse_kernels
from crate_transformer.models import build_model

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
half = pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)


def near(ours, exact, tolerance):
    assert ours.shape == exact.shape
    assert (ours.double() - exact).abs().max() <= tolerance * exact.abs().max()  # fails for not-a-number


def inside(values, dtype, device):
    """These values as the middle of a larger tensor that is not-a-number elsewhere."""
    around = torch.full([side + 3 for side in values.shape], torch.nan, dtype=dtype, device=device)
    middle = around[tuple(slice(1, 1 + side) for side in values.shape)]
    return middle.copy_(values)


def projection(tokens, head_dim, dtype, device):
    """As in MSSA, a view of ``(batch, tokens, heads * head_dim)``."""
    return inside(torch.randn(2, tokens, 2 * head_dim), dtype, device).unflatten(-1, (2, head_dim)).transpose(1, 2)


def attention(w):
    return (w @ w.mT * w.shape[-1] ** -0.5).softmax(dim=-1) @ w


@half
@pytest.mark.parametrize(("tokens", "head_dim"), [(1, 64), (17, 16), (65, 40), (197, 64)])
@pytest.mark.usefixtures("poison")
def test_attention_and_its_gradient(dtype, tokens, head_dim, device):
    from crate_transformer.kernels.shared_attention import shared_attention

    w = projection(tokens, head_dim, dtype, device).requires_grad_()
    mixed = shared_attention(w)
    assert mixed.dtype == dtype and mixed.transpose(1, 2).is_contiguous()
    on_mixed = projection(tokens, head_dim, dtype, device)
    (on_w,) = torch.autograd.grad(mixed, w, on_mixed)
    exact = w.detach().double().requires_grad_()
    expected = attention(exact)
    near(mixed, expected, ROUNDING[dtype])
    near(on_w, torch.autograd.grad(expected, exact, on_mixed.double())[0], 2 * ROUNDING[dtype])


def test_attention_takes_any_strides_and_large_scores(device):
    from crate_transformer.kernels.shared_attention import shared_attention

    w = (4 * torch.randn(1, 20, 7, 2)).to(device).permute(0, 3, 2, 1).requires_grad_()
    exact = w.detach().double().requires_grad_()
    # the exponential turns the rounding of a score, a sum of 20 products, into one relative to the map
    largest = (exact @ exact.mT * 20**-0.5).max().item()
    tolerance = max(1e-5, 20**0.5 * torch.finfo(torch.float32).eps * largest)
    near(shared_attention(w), attention(exact), tolerance)
    ours = torch.autograd.grad(shared_attention(w).sum(), w)[0]  # a gradient without strides
    near(ours, torch.autograd.grad(attention(exact).sum(), exact)[0], 2 * tolerance)
    assert shared_attention(w[:0]).shape == (0, 2, 7, 20)
    with pytest.raises(ValueError, match="head_dim is 300"):
        shared_attention(torch.randn(1, 1, 2, 300, device=device))


@half
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 16, 10), (3, 40, 70), (70, 130, 129)])
@pytest.mark.parametrize(("affine", "bias", "relu"), [(True, False, False), (False, True, True)])
@pytest.mark.usefixtures("poison")
def test_norm_and_linear(dtype, rows, inputs, outputs, affine, bias, relu, device):
    from crate_transformer.kernels.norm_linear import norm_linear

    x = inside(torch.randn(2, rows, inputs) + 10 * torch.randn(2, rows, 1), torch.float32, device)
    weight = inside(torch.randn(outputs, inputs) / inputs**0.5, dtype, device)
    bias = torch.randn(outputs, device=device, dtype=dtype) if bias else None
    norm = torch.randn(2, inputs, device=device) if affine else (None, None)
    y = norm_linear(x, weight, bias, *norm, eps=1e-3, relu=relu, tune=False)
    exact = [None if part is None else part.double() for part in (x, weight, bias, *norm)]
    expected = F.linear(F.layer_norm(exact[0], (inputs,), *exact[3:], eps=1e-3), *exact[1:3])
    near(y, expected.relu() if relu else expected, ROUNDING[dtype])
    assert y.dtype == dtype


def test_every_tiling_gives_the_same(device, monkeypatch):
    from crate_transformer.kernels import norm_linear as kernels

    x, weight = torch.randn(140, 96, device=device).half(), torch.randn(72, 96, device=device).half() / 10
    expected = F.linear(F.layer_norm(x.double(), (96,)), weight.double())
    for tiles in kernels.CHOICES:
        monkeypatch.setattr(kernels, "FIXED", tiles)
        near(kernels.norm_linear(x, weight, tune=False), expected, 2**-10)
    assert len(kernels.tuned_kernel(256).configs) == len(kernels.CHOICES)
    near(kernels.norm_linear(x, weight, tune=True), expected, 2**-10)  # on a GPU the fastest


def test_not_a_number_stays_one(device):
    from crate_transformer.kernels.norm_linear import norm_linear

    x = torch.ones(2, 16, device=device)
    x[0, 3] = torch.nan
    y = norm_linear(x, torch.eye(16, device=device), relu=True)
    assert y[0].isnan().all() and (y[1] == 0).all()
    assert norm_linear(x[:0], torch.eye(16, device=device)).shape == (0, 16)


@pytest.mark.filterwarnings("ignore")
def test_operators_keep_the_rules_of_torch_compile(device):
    from crate_transformer.kernels import norm_linear, shared_attention

    w = torch.randn(2, 5, 3, 16, device=device).transpose(1, 2).requires_grad_()
    torch.library.opcheck(shared_attention._forward, (w,))
    x, weight = torch.randn(2, 3, 16, device=device), torch.randn(8, 16, device=device)
    torch.library.opcheck(norm_linear._norm_linear, (x, weight, None, None, None, 1e-5, True, False))


@pytest.fixture
def calls(monkeypatch):
    """How often a model called each kernel."""
    from crate_transformer.kernels import norm_linear, shared_attention

    count = {"shared_attention": 0, "norm_linear": 0}

    def counting(module, name):
        kernel = getattr(module, name)

        def call(*args, **options):
            count[name] += 1
            return kernel(*args, **options)

        monkeypatch.setattr(module, name, call)

    counting(shared_attention, "shared_attention")
    counting(norm_linear, "norm_linear")
    return count


def models(device, dtype):
    """A toy, the same in float64, and images."""
    exact = build_model("crate_micro_patch4_32", depth=2, img_size=16).to(device, dtype).double()
    images = torch.randn(2, 3, 16, 16, device=device).to(dtype)
    return copy.deepcopy(exact).to(dtype), exact, images


def kinds(device):
    """Precisions in which a model calls the kernels."""
    return [torch.float32, torch.bfloat16] if device.type == "cpu" else [torch.bfloat16, torch.float16]


def gradients_of(model, images):
    logits = model(images)
    logits.square().sum().backward()
    return logits.detach(), torch.cat([p.grad.double().flatten() / p.grad.double().norm() for p in model.parameters()])


def test_a_model_and_its_gradients(device, calls):
    for dtype in kinds(device):
        model, exact, images = models(device, dtype)
        fused = copy.deepcopy(model)
        fuse_kernels(fused)
        ours, plain = gradients_of(fused, images), gradients_of(model, images)
        expected = gradients_of(exact, images.double())
        for mine, theirs, goal in zip(ours, plain, expected, strict=True):
            assert (mine - goal).norm() <= 1.3 * (theirs - goal).norm()
    assert calls == {"shared_attention": 4, "norm_linear": 0}


def test_a_folded_model(device, calls):
    for dtype in kinds(device):
        model, exact, images = models(device, dtype)
        folded = model.fold()
        fuse_kernels(folded, tune=False)
        with torch.no_grad():
            near(folded(images), exact(images.double()), 1e-5 if dtype == torch.float32 else 0.05)
    assert calls == {"shared_attention": 4, "norm_linear": 8}


def test_autocast(device, calls):
    model, exact, images = models(device, torch.float32)
    folded = model.fold()
    fuse_kernels(folded, tune=False)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        near(folded(images), exact(images.double()), 0.05)
    assert calls == {"shared_attention": 2, "norm_linear": 4}


def test_where_pytorch_stays(device, calls):
    dtype = kinds(device)[0]
    model, _, images = models(device, dtype)
    folded = model.fold()
    fuse_kernels(folded, tune=False)
    with torch.no_grad(), record(folded, "blocks.0.mssa.attention"):
        folded(images)
    assert calls == {"shared_attention": 1, "norm_linear": 4}
    folded(images.requires_grad_()).sum().backward()  # a folded model's kernels have no gradient
    assert calls == {"shared_attention": 3, "norm_linear": 4} and images.grad.abs().sum() > 0
    causal = MSSA(32, 2, causal=True).to(device, dtype)
    fuse_kernels(causal)
    causal(torch.randn(1, 5, 32, device=device, dtype=dtype))
    assert calls["shared_attention"] == 3


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore")
def test_torch_compile_takes_it_whole(device):
    dtype = kinds(device)[0]
    model, _, images = models(device, dtype)
    folded = model.fold()
    fuse_kernels(model)
    fuse_kernels(folded, tune=False)
    for fused in (model, folded):
        compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), fused(images))


def test_compiled_for_hopper_nothing_spills(tmp_path):
    triton = pytest.importorskip("triton", reason="triton is not installed: make test-triton")
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    if not (tools / "ptxas").exists() or not (tools / "cuobjdump").exists():
        pytest.skip("this triton comes without ptxas and cuobjdump")
    settings = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_offline.py")
    done = subprocess.run([sys.executable, script, "64"], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert {kernel["kernel"] for kernel in kernels} == {
        "forward_kernel", "backward_kernel", "delta_kernel", "norm_linear_kernel",
    }  # fmt: skip
    assert not [kernel for kernel in kernels if kernel["spills"] or kernel["stack_bytes"]]
    assert all(kernel["wgmma"] for kernel in kernels if kernel["kernel"] in ("forward_kernel", "backward_kernel"))
