"""torch.compile takes every family whole, forward and backward; in a process without checks of types."""

import subprocess
import sys

import pytest

from crate_transformer.models import MODELS

SCRIPT = """
import os
import sys
import torch
from crate_transformer.models import build_model

torch.manual_seed(int(os.environ["SEED"]))
torch.amp.is_autocast_available = torch._dynamo.disable(torch.amp.is_autocast_available)  # as in PyTorch 2.11
toy = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
for name in sys.argv[1:]:
    model = build_model(name, **toy)
    images = torch.randn(3, 3, 16, 16)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images), rtol=1e-4, atol=1e-5)
    compiled(images).square().sum().backward()
    ours = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(images).square().sum().backward()
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, model.get_parameter(key).grad, rtol=1e-3, atol=1e-4)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(compiled(images), model(images), rtol=0.1, atol=0.1)
    print(name, len(ours))
"""
FAMILIES = {model_class: name for name, (model_class, _) in MODELS.items()}


@pytest.mark.filterwarnings("ignore")
def test_without_a_graph_break():
    done = subprocess.run([sys.executable, "-c", SCRIPT, *FAMILIES.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(FAMILIES)
