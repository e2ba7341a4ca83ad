"""What blocks tell inspection is what they do."""

import pytest
import torch

from crate_transformer.inspection import record
from crate_transformer.models import MODELS, Block, build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 2}
FAMILIES = sorted({model_class: name for name, (model_class, _) in MODELS.items()}.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_is_what_it_says(name):
    torch.manual_seed(0)
    model = build_model(name, **TINY).double().eval()
    images = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    code = model.blocks[0].sparse_code
    wanted = ["blocks.*.norm1", "blocks.*.*.projection", *([f"blocks.*.{code}"] if code else [])]
    with torch.inference_mode(), record(model, *wanted) as seen:
        model(images)
        for number, block in enumerate(model.blocks):
            assert isinstance(block, Block) and block.sparse_code == code
            (compared,) = (out for key, out in seen.items() if key.startswith(f"blocks.{number}.") and "proj" in key)
            projected = block.project(seen[f"blocks.{number}.norm1"])
            torch.testing.assert_close(projected, compared, rtol=1e-12, atol=1e-12)
            assert (block.sparse_step is None) == (code is None)
            if code:
                found = seen[f"blocks.{number}.{code}"]
                assert found.shape[-1] == block.sparse_step.dictionary.shape[1] and (found >= 0).all()
