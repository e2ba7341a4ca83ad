"""The loop on the masked autoencoder's objective: labels do not matter, the encoder and the decoder learn."""

import math

import pytest
import torch
from small_problem import make_images

from crate_transformer.data import normalise
from crate_transformer.models import CRATEMAE, CRATEMAEConfig
from crate_transformer.training.masked_autoencoding import MaskedAutoencoding

TOY = CRATEMAEConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2)


@pytest.fixture
def run_mae(run):
    def fresh_model():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return CRATEMAE(TOY)

    run.fresh_model = fresh_model
    return run


def batch():
    images = make_images()
    return images.images[:8] / 255.0, images.labels[:8]


def test_the_loss_is_that_of_the_model_and_knows_no_labels():
    model, (images, labels) = CRATEMAE(TOY), batch()
    losses = []
    for given in (labels, 1 - labels):
        torch.manual_seed(5)
        losses.append(MaskedAutoencoding(mask_ratio=0.5)(model, (images, given)))
    torch.manual_seed(5)
    assert losses[0] == losses[1] == model.reconstruct(images, 0.5).loss
    torch.manual_seed(5)
    assert losses[0] != MaskedAutoencoding()(model, (images, labels))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_ten_steps_move_every_parameter(run_mae, tmp_path, precision):
    result = run_mae(tmp_path, steps=10, loss=MaskedAutoencoding(), precision=precision, weight_decay=0.0)
    assert result.steps == 10 and math.isfinite(result.loss)
    before, after = run_mae.fresh_model().state_dict(), run_mae.weights()
    assert {key for key in before if torch.equal(before[key], after[key])} == {"pos_embed"}


def test_it_learns_to_fill_in(run_mae, tmp_path):
    options = {"loss": MaskedAutoencoding(0.5), "learning_rate": 1e-2, "augment": False, "warmup_steps": 5}
    run_mae(tmp_path, steps=60, precision="float32", **options)
    images, noise = normalise(make_images().images, run_mae.model.preprocessing), torch.rand(24, 4)
    with torch.no_grad():
        untrained, trained = (
            model.reconstruct(images, noise=noise).loss for model in (run_mae.fresh_model(), run_mae.model)
        )
    assert trained < 0.8 * untrained
