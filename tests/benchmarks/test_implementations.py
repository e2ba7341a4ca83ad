"""Who is measured computes what its name says."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from crate_transformer.benchmarks import cases
from crate_transformer.benchmarks.cases import LayerCase, ModelCase
from crate_transformer.benchmarks.cuda_graph import capture
from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.benchmarks.implementations import IMPLEMENTATIONS, implementations
from crate_transformer.benchmarks.reference import ReferenceCRATE
from crate_transformer.layers import pack_linears
from crate_transformer.models import build_model

MODEL = "crate_micro_patch4_32"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VITS = [name for name in IMPLEMENTATIONS if name.startswith("ViT")]


@pytest.fixture
def case():
    return ModelCase(
        model=MODEL, implementation="ours", task="training", precision="float32", batch=2, threads=1, device="cpu"
    )


def test_the_reference_computes_the_same_forward_and_backward():
    ours = build_model(MODEL, depth=2).double()
    reference = ReferenceCRATE(ours.config).double()
    reference.load_state_dict(ours.state_dict())
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(images), reference(images), rtol=1e-12, atol=1e-12)
    for model in (ours, reference):
        model(images).square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, reference.get_parameter(name).grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_packed_for_a_cpu_it_stays_the_same(dtype):
    model, images = build_model(MODEL).eval(), torch.randn(2, 3, 32, 32)
    packed = model.fold()
    pack_linears(packed, dtype)
    with torch.no_grad():
        tolerance = 1e-4 if dtype is None else 0.05
        torch.testing.assert_close(packed(images).float(), model(images), rtol=tolerance, atol=tolerance)


def test_arithmetic_is_what_the_equations_say():
    model = build_model(MODEL, depth=1, num_classes=0)
    dim, tokens = 128, 65
    attention = 2 * tokens * tokens * dim
    patches = 64 * 48 * dim
    reference = ReferenceCRATE(model.config)
    assert count_flops(reference, 3, 32, 32) == 2 * (5 * tokens * dim * dim + attention + patches)
    assert count_flops(model.fold(), 3, 32, 32) == 2 * (3 * tokens * dim * dim + attention + patches)


def layer_products(name, n, d):
    """Multiply-adds of one attention layer by its equations; CBSA on an 8 x n/8 grid with 64 representatives."""
    maps = {"MSSA": 2 * n * n * d, "MHSA": 2 * n * n * d, "TSSA": 2 * n * d}
    pooled = 8 * n * d + 64 * (n // 8) * d
    maps["CBSA"] = pooled + 3 * 64 * n * d + 2 * 64 * 64 * d
    return (4 if name == "MHSA" else 2) * n * d * d + maps[name]


@pytest.mark.parametrize("name", list(cases.LAYERS))
def test_arithmetic_of_every_attention(name):
    layer = LayerCase(
        implementation=name, task="inference", precision="float32", batch=1, threads=1, device="meta", tokens=64, dim=48
    )
    assert count_flops(layer.build(), 64, 48) == 2 * layer_products(name, 64, 48)


def test_arithmetic_of_a_cbt():
    model = build_model("cbt_mini_patch8_64", depth=1, num_classes=0)
    d, n = 288, 65
    stem = 9 * (3 * 72 * 32 * 32 + 72 * 144 * 16 * 16 + 144 * d * 8 * 8)
    attention = layer_products("CBSA", 64, d) + 2 * d * d + 3 * 64 * d  # the class token is not pooled
    assert count_flops(model.fold(), 3, 64, 64) == 2 * (stem + attention + n * d * d)
    assert count_flops(model.eval(), 3, 64, 64) == 2 * (stem + attention + 2 * n * d * d)


@pytest.mark.parametrize(
    ("name", "options", "attention", "squares"),
    [
        ("crate_mini_patch8_64", {}, "MSSA", 1),
        ("crate_tied_mini_patch8_64", {}, "MSSA", 1),
        ("crate_alpha_mini_patch8_64", {}, "MSSA", 16),
        ("crate_mlp_mini_patch8_64", {}, "MSSA", 8),
        ("crate_mhsa_mini_patch8_64", {}, "MHSA", 1),
        ("tost_tiny_patch8_224", {}, "TSSA", 8),
        ("aot_mini_patch8_64", {}, "MSSA", 0),
        ("hyper_set_512_patch14_224", {"patch_size": 8, "steps": "constant"}, "MSSA", 2),
        ("vit_mini_patch8_64", {}, "MHSA", 8),
    ],
)
def test_arithmetic_of_one_block(name, options, attention, squares):
    """Multiply-adds of attention, and of further products with matrices of width x width for every token."""
    sizes = {"embed_dim": 48, "num_heads": 4, "img_size": 64, "num_classes": 0, **options}
    one, two = (count_flops(build_model(name, **sizes, depth=depth).fold(), 3, 64, 64) for depth in (1, 2))
    n, d = 65 - name.startswith("tost"), 48
    assert two - one == 2 * (layer_products(attention, n, d) + squares * n * d * d)


@pytest.mark.parametrize("name", VITS)
def test_vits_of_other_libraries_do_the_arithmetic_of_ours(name):
    ours = build_model("vit_micro_patch4_32")
    if name not in implementations(ours, CPU, "bf16"):
        pytest.skip(f"no {name}: its library is not installed, or does not go with this torch")
    other = IMPLEMENTATIONS[name].plain(ours)
    assert count_flops(other.eval(), 3, 32, 32) == count_flops(ours.eval(), 3, 32, 32)
    assert other(torch.randn(2, 3, 32, 32)).shape == (2, ours.num_classes)


def test_who_is_measured(monkeypatch):
    ours = build_model(MODEL)
    assert {"ours", "reference"} <= set(implementations(ours, CPU, "bf16")) <= {"ours", "reference", *VITS}
    assert "reference" not in implementations(build_model("vit_micro_patch4_32"), CPU, "bf16")
    assert "ours (compiled)" in implementations(ours, CPU, "bf16", compiled=True)
    assert "ours (CUDA graph)" in implementations(ours, CUDA, "bf16")
    for absent in ("transformers", "timm.models.vision_transformer", "triton"):
        monkeypatch.setitem(sys.modules, absent, None)
    assert implementations(ours, CPU, "bf16") == ["ours", "reference"]
    assert implementations(ours, CUDA, "bf16") == ["ours", "ours (CUDA graph)", "reference"]


def test_all_see_the_same_weights_and_take_steps(case):
    weights = [replace(case, implementation=name).build().head.weight.clone() for name in ("ours", "reference")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    module = case.build()
    case.runner(module, case.optimizer(module), case.feed())()
    assert not torch.equal(module.head.weight, weights[0])
    assert all(parameter.grad is None for parameter in module.parameters())


def test_inference_leaves_no_gradients_and_is_folded(case):
    inference = replace(case, task="inference", heads=2)
    module = inference.build()
    assert module.folded and module.embed_dim == inference.width == 64
    inference.runner(module, inference.optimizer(module), inference.feed())()
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_layer_goes_backwards_to_its_input_and_parameters(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.autograd, "grad", lambda output, inputs, grad: asked.append((output, inputs)))
    layer_case = LayerCase(
        implementation="TSSA",
        task="training",
        precision="bf16",
        batch=2,
        threads=1,
        device="cpu",
        tokens=8,
        dim=12,
        heads=2,
    )
    module, feed = layer_case.build(), layer_case.feed()
    layer_case.once(module, feed)
    ((output, inputs),) = asked
    assert output.dtype == torch.bfloat16 and output.shape == (2, 8, 12)
    assert inputs[0] is feed and len(inputs) == 1 + len(list(module.parameters()))


def test_a_captured_implementation_captures_the_whole_step(case, monkeypatch):
    captured, replay = [], lambda: None
    monkeypatch.setattr(cases, "capture", lambda run, device: captured.append((run, device)) or replay)
    case = replace(case, implementation="ours (CUDA graph)")
    module = case.build()
    before = module.head.weight.clone()
    assert case.runner(module, case.optimizer(module), case.feed()) is replay
    ((run, device),) = captured
    assert device == CPU and torch.equal(module.head.weight, before)
    run()
    assert not torch.equal(module.head.weight, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_cuda_graph_computes_what_it_captured(case, precision):
    model, images = build_model(MODEL).cuda().fold(), torch.randn(2, 3, 32, 32, device="cuda")
    seen = torch.zeros(2, model.num_classes, device="cuda")
    with torch.no_grad():
        replay = capture(lambda: seen.copy_(model(images)), CUDA)
        images.normal_()
        replay()
        torch.testing.assert_close(seen, model(images), rtol=1e-5, atol=1e-5)
    training = replace(case, implementation="ours (CUDA graph)", precision=precision, device="cuda")
    module = training.build()
    replay = training.runner(module, training.optimizer(module), training.feed())
    before = module.head.weight.clone()
    replay()
    assert not torch.equal(module.head.weight, before) and module.head.weight.isfinite().all()


@pytest.mark.slow
def test_compiled_it_stays_the_same():
    script = f"""
import torch
from crate_transformer.benchmarks.cases import ModelCase
common = dict(model={MODEL!r}, precision="float32", batch=2, threads=1, device="cpu")
for task in ("inference", "training"):
    ours, compiled = (ModelCase(implementation=n, task=task, **common) for n in ("ours", "ours (compiled)"))
    images = ours.feed()
    module = compiled.build()
    torch.testing.assert_close(module(images), ours.build()(images), rtol=1e-3, atol=1e-4)
    compiled.runner(module, compiled.optimizer(module), images)()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
