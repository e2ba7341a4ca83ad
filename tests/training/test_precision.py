import pytest
import torch

from crate_transformer.training import loop
from crate_transformer.training.config import TrainConfig
from crate_transformer.training.loop import choose_precision


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
        ("auto", 512, "mps", True, "no"),
    ],
)
def test_precision(monkeypatch, precision, width, device, products, chosen):
    monkeypatch.setattr(loop, "cpu_has_bf16", lambda: products)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: products)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert choose_precision(TrainConfig(precision=precision), width, torch.device(device)) == chosen
