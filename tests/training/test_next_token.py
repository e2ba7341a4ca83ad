"""The loop trains a language model as it trains any other."""

import torch

from crate_transformer.models import build_language_model
from crate_transformer.training.config import TrainConfig
from crate_transformer.training.language import NextToken
from crate_transformer.training.loop import train


def test_the_loop_trains_a_language_model(tmp_path):
    text = (torch.arange(40) % 5).unfold(0, 9, 1)
    model = build_language_model(
        "tost_lm_base", vocab_size=5, context_length=8, embed_dim=16, depth=2, num_heads=2, layer_scale=0.1
    )

    def batches(start, rank, world_size):
        for _ in range(start, 60):
            yield text[:, :-1], text[:, 1:]

    config = TrainConfig(
        batch_size=len(text), warmup_steps=2, checkpoint_every=100, learning_rate=2e-2, optimizer="adamw"
    )
    result = train(model, NextToken(), batches, config, tmp_path, steps=60, show=False)
    assert result.loss < 0.8 < torch.tensor(5.0).log()
    assert not model.training
    assert model.loss(text[:, :-1], text[:, 1:]) < 0.2
