"""The loop on the masked autoencoder's objective: labels do not matter, the encoder and the decoder learn."""

import math

import pytest
import torch
from small_problem import make_images

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.mae import MAEConfig
from crate_transformer.data import normalise
from crate_transformer.layers.random_numbers import Stream, uniforms
from crate_transformer.models import CRATEMAE, CRATEMAEConfig
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.masked_autoencoding import MaskedAutoencoding

TOY = CRATEMAEConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2)


@pytest.fixture
def run_mae(run):
    def fresh_model():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return CRATEMAE(TOY)

    run.fresh_model = fresh_model
    return run


def task(mask_ratio=0.75):
    return lambda model: MaskedAutoencoding(MAEConfig(mask_ratio=mask_ratio), model, AugmentConfig())


def test_the_loss_is_that_of_the_model_under_the_pictures_own_masks():
    model, images = CRATEMAE(TOY), make_images()
    objective, progress = task(0.5)(model), Progress(0, 1, seed=5)
    batch = {"images": images.images[:8], "positions": torch.arange(8)}
    loss, _ = objective(batch, progress)
    given = normalise(images.images[:8], model.preprocessing)
    assert loss == model.reconstruct(given, 0.5, uniforms(5, batch["positions"], 4, Stream.MASK)).loss
    parts = [
        objective({name: value[part] for name, value in batch.items()}, progress)[0] for part in (slice(4), slice(4, 8))
    ]
    torch.testing.assert_close(sum(parts) / 2, loss, rtol=1e-5, atol=0)
    assert objective({**batch, "positions": batch["positions"] + 8}, progress)[0] != loss


def test_mixtures_are_refused():
    for augment in (AugmentConfig(mixup=0.8), AugmentConfig(cutmix=1.0)):
        with pytest.raises(ValueError, match="mixup and cutmix are for objectives that learn classes"):
            MaskedAutoencoding(MAEConfig(), CRATEMAE(TOY), augment)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_ten_steps_move_every_parameter(run_mae, tmp_path, precision):
    result = run_mae(tmp_path, steps=10, task=task(), precision=precision, weight_decay=0.0)
    assert result.steps == 10 and math.isfinite(result.loss)
    before, after = run_mae.fresh_model().state_dict(), run_mae.weights()
    assert {key for key in before if torch.equal(before[key], after[key])} == {"pos_embed"}


def test_it_learns_to_fill_in(run_mae, tmp_path):
    options = {"task": task(0.5), "learning_rate": 1e-2, "augment": False, "warmup_steps": 5}
    run_mae(tmp_path, steps=60, precision="float32", **options)
    images, noise = normalise(make_images().images, run_mae.model.preprocessing), torch.rand(24, 4)
    with torch.no_grad():
        untrained, trained = (
            model.reconstruct(images, noise=noise).loss for model in (run_mae.fresh_model(), run_mae.model)
        )
    assert trained < 0.8 * untrained
