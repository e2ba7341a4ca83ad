import pytest
import torch

from crate_transformer.training import precision as module
from crate_transformer.training.precision import choose_precision


@pytest.mark.parametrize(
    ("precision", "width", "device", "products", "chosen"),
    [
        ("bf16", 8, "cpu", False, "bf16"),
        ("float32", 512, "cuda", True, "no"),
        ("auto", 64, "cpu", True, "bf16"),
        ("auto", 63, "cpu", True, "no"),
        ("auto", 512, "cpu", False, "no"),
        ("auto", 8, "cuda", True, "bf16"),
        ("auto", 512, "cuda", False, "no"),
        ("auto", 512, "mps", False, "no"),
    ],
)
def test_precision(monkeypatch, precision, width, device, products, chosen):
    monkeypatch.setattr(module, "fast_products", lambda dtype, kind: dtype == torch.bfloat16 and products)
    assert choose_precision(precision, width, torch.device(device)) == chosen


def test_fp16_needs_a_gpu():
    with pytest.raises(ValueError, match=r"^precision is fp16, which needs a GPU: choose bf16 or float32$"):
        choose_precision("fp16", 64, torch.device("cpu"))
