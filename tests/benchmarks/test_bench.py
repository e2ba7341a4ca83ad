"""The bench measures what it says, against a reference that computes the same."""

import json

import pytest
import torch

from crate_transformer.benchmarks.contenders import contenders, prepare
from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.benchmarks.measure import interleave, median_ratio
from crate_transformer.benchmarks.reference import TextbookCRATE
from crate_transformer.cli import main
from crate_transformer.layers import pack_linears
from crate_transformer.models import build_model

MODEL = "crate_micro_patch4_32"


def test_the_textbook_computes_the_same_forward_and_backward():
    ours = build_model(MODEL, depth=2).double()
    textbook = TextbookCRATE(ours.config).double()
    textbook.load_state_dict(ours.state_dict())
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(images), textbook(images), rtol=1e-12, atol=1e-12)
    for model in (ours, textbook):
        model(images).square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, textbook.get_parameter(name).grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_packed_for_a_cpu_it_stays_the_same(dtype):
    model, images = build_model(MODEL).eval(), torch.randn(2, 3, 32, 32)
    packed = model.fold()
    pack_linears(packed, dtype)
    with torch.no_grad():
        tolerance = 1e-4 if dtype is None else 0.05
        torch.testing.assert_close(packed(images).float(), model(images), rtol=tolerance, atol=tolerance)


def test_turns_are_interleaved_and_the_first_does_not_count():
    turns = []
    seconds = interleave(
        {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, repeats=3, device=torch.device("cpu")
    )
    assert turns == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert median_ratio([4.0, 9.0, 8.0], [2.0, 3.0, 1.0]) == 3.0


def test_arithmetic_is_what_the_equations_say():
    model = build_model(MODEL, depth=1, num_classes=0)
    dim, tokens = 128, 65
    attention = 2 * tokens * tokens * dim
    patches = 64 * 48 * dim
    textbook = TextbookCRATE(model.config)
    assert count_flops(textbook, 3, 32, 32) == 2 * (5 * tokens * dim * dim + attention + patches)
    assert count_flops(model.fold(), 3, 32, 32) == 2 * (3 * tokens * dim * dim + attention + patches)


def test_who_is_measured():
    assert contenders(MODEL)[:2] == ["ours", "textbook"]
    assert "textbook" not in contenders("vit_micro_patch4_32")
    assert prepare("textbook", "training", MODEL, precision="float32", device=torch.device("cpu")).training


def test_from_the_shell(tmp_path, capsys):
    command = ["bench", MODEL, "--batch", "2", "--repeats", "1", "--threads", "1", "--precisions", "float32"]
    assert main([*command, "--tasks", "inference", "--output", str(tmp_path)]) == 0
    assert "textbook" in capsys.readouterr().out
    result = json.loads((tmp_path / "bench.json").read_text())
    for row in result["rows"]:
        assert row["images_per_second"] > 0 and row["peak_memory_mb"] >= 0 and 0 < row["ceiling_fraction"] < 1
    assert {row["ratio"] for row in result["rows"] if row["contender"] == "textbook"} == {1.0}
    assert main([*command, "--batch", "0"]) == 2
    assert main(["bench", "no_such_model"]) == 2
