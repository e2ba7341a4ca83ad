"""The loop trains a language model as it trains any other."""

import torch
from small_problem import SETTINGS, changed

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.models import build_language_model
from crate_transformer.training.processes import Processes
from crate_transformer.training.tasks.next_token import NextToken
from crate_transformer.training.trainer import Trainer


def test_the_loop_trains_a_language_model(tmp_path):
    text = (torch.arange(40) % 5).unfold(0, 9, 1)
    model = build_language_model(
        "tost_lm_base", vocab_size=5, context_length=8, embed_dim=16, depth=2, num_heads=2, layer_scale=0.1
    )
    task = NextToken(LanguageConfig(), model)
    settings = changed(SETTINGS, steps=60, batch_size=len(text), learning_rate=2e-2)
    trainer = Trainer(task, tmp_path, **settings, processes=Processes(), show=False)
    result = trainer.run(lambda start: ({"tokens": text} for _ in range(start, 60)))
    assert result.loss < 0.8 < torch.tensor(5.0).log()
    assert not model.training
    assert model.loss(text[:, :-1], text[:, 1:]) < 0.2
