"""The masked autoencoder around CRATE's encoder."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.layers import HookPoint, Synthesis, patchify, sincos_position, unpatchify
from crate_transformer.models import CRATEMAE, CRATEMAEConfig, build_model, canonical_name

CONFIG = CRATEMAEConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3)
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def toy(**changes):
    model = CRATEMAE(dataclasses.replace(CONFIG, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def with_normalised_pixels(model):
    model.config = dataclasses.replace(model.config, normalise_pixels=True)
    return model


@pytest.mark.parametrize("normalise_pixels", [False, True])
@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"decoder_depth": 1}])
def test_reconstruction_reaches_every_parameter(options, normalise_pixels):
    model = toy(normalise_pixels=normalise_pixels, **options)
    model.reconstruct(IMAGES).loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, key


def test_every_tap_fires_once_in_a_reconstruction():
    model, fired = toy().eval(), []
    for key, module in model.named_modules():
        if isinstance(module, HookPoint):
            module.register_forward_hook(lambda _, args, out, key=key: fired.append(key))
    with torch.no_grad():
        model.reconstruct(IMAGES)
    assert sorted(fired) == sorted(key for key, module in model.named_modules() if isinstance(module, HookPoint))
    assert sum(key.startswith("decoder.blocks.") for key in fired) == 8


@pytest.mark.parametrize(("size", "millions"), [("small", 25.4), ("base", 44.6)])
def test_parameters_are_those_published(size, millions):
    """They count all that the official code stores: the fixed position table twice, and a linear map that is unused."""
    with torch.device("meta"):
        model = build_model(f"crate_mae_{size}_patch16_224")
    dim = model.embed_dim
    ours = sum(parameter.numel() for parameter in model.parameters())
    assert f"{(ours + 2 * model.pos_embed.numel() + dim * dim + dim) / 1e6:.1f}" == str(millions)
    assert ours == {576: 24_846_528, 768: 43_745_280}[dim]


@pytest.mark.parametrize("alias", ["CRATE-MAE-B", "crate_mae_base", "CRATE-MAE_base", "CRATEMAE-B/16"])
def test_aliases(alias):
    assert canonical_name(alias) == "crate_mae_base_patch16_224"


def test_a_decoder_block_is_two_lines():
    block, z = toy().decoder.blocks[0], torch.randn(2, 5, 12)
    half = block.norm1(z) @ block.synthesis.dictionary.T
    torch.testing.assert_close(block(z), half - block.mssa(block.norm2(half)))


def test_synthesis_is_the_dictionary_times_the_code():
    layer, z = Synthesis(5).double(), torch.randn(2, 3, 5, dtype=torch.float64)
    for image, token in ((0, 0), (1, 2)):
        torch.testing.assert_close(layer(z)[image, token], layer.dictionary @ z[image, token], rtol=0, atol=1e-12)


def test_positions_are_sines_and_cosines_of_column_and_row():
    table = sincos_position((2, 3), 8, num_prefix_tokens=2)
    assert table.shape == (1, 8, 8)
    assert not table[:, :2].any()
    for row in range(2):
        for column in range(3):
            x, y = torch.tensor([column, column / 100.0]), torch.tensor([row, row / 100.0])
            expected = torch.cat([x.sin(), x.cos(), y.sin(), y.cos()])
            torch.testing.assert_close(table[0, 2 + 3 * row + column], expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="dim 10 is not a multiple of 4"):
        sincos_position((2, 2), 10)


def test_patches_and_back():
    images = torch.randn(2, 3, 8, 18)
    patches = patchify(images, (4, 6))
    assert patches.shape == (2, 6, 72)
    assert torch.equal(patches[1, 4].unflatten(0, (4, 6, 3)), images[1, :, 4:8, 6:12].permute(1, 2, 0))
    assert torch.equal(unpatchify(patches, (4, 6), (2, 3)), images)


@pytest.mark.parametrize("normalise_pixels", [False, True])
def test_the_loss_is_the_mean_over_hidden_patches(normalise_pixels):
    model = toy(normalise_pixels=normalise_pixels).double()
    images, noise = IMAGES.double(), torch.rand(3, 16, dtype=torch.float64)
    found = model.reconstruct(images, 0.6, noise)
    errors = []
    for image, patch in found.mask.nonzero().tolist():
        row, column = divmod(patch, 4)
        target = images[image, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].permute(1, 2, 0).flatten()
        if normalise_pixels:
            target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
        errors.append(F.mse_loss(found.patches[image, patch], target))
    assert len(errors) == 3 * 10  # 6 of 16 are seen
    torch.testing.assert_close(found.loss, torch.stack(errors).mean(), rtol=0, atol=1e-12)
    assert (noise.masked_fill(found.mask, 0).amax(dim=1) < noise.masked_fill(~found.mask, 1).amin(dim=1)).all()


def test_nothing_leaks_from_hidden_patches():
    model, noise = toy().eval(), torch.rand(3, 16)
    found = model.reconstruct(IMAGES, noise=noise)
    hidden = unpatchify(found.mask[..., None].expand(-1, -1, 48).float(), (4, 4), (4, 4))
    other = model.reconstruct(IMAGES + 5 * hidden, noise=noise)
    assert torch.equal(other.patches, found.patches)
    assert not torch.equal(model.reconstruct(IMAGES + 1 - hidden, noise=noise).patches, found.patches)


def test_masks_are_random_and_repeatable():
    model = toy().eval()
    torch.manual_seed(3)
    one, other = model.reconstruct(IMAGES).mask, model.reconstruct(IMAGES).mask
    torch.manual_seed(3)
    assert torch.equal(model.reconstruct(IMAGES).mask, one)
    assert not torch.equal(one, other)
    assert (one.sum(dim=1) == 12).all()
    assert torch.equal(model(IMAGES, mask_ratio=0.5).mask.sum(dim=1), torch.full((3,), 8))


def test_pictures_show_what_was_seen_and_what_was_made_up():
    model = toy(img_size=(8, 16)).eval()
    found = model.reconstruct(IMAGES[..., :8, :], 0.5)
    pictures = patchify(found.pictures(), (4, 4))
    assert not pictures.requires_grad
    assert torch.equal(pictures[found.mask], found.patches.detach()[found.mask])
    assert torch.equal(pictures[~found.mask], patchify(IMAGES[..., :8, :], (4, 4))[~found.mask])


def test_pictures_of_normalised_pixels_have_the_range_of_the_image():
    images = 7 + 3 * IMAGES
    found = with_normalised_pixels(toy().eval()).reconstruct(images)
    right = F.layer_norm(patchify(images, (4, 4)), (48,)) * (47 / 48) ** 0.5
    pictures = dataclasses.replace(found, patches=right).pictures()
    torch.testing.assert_close(pictures, images, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 12), (4, 32), (4, 4)])
def test_other_sizes(size):
    found = toy().eval().reconstruct(torch.randn(2, 3, *size))
    assert found.patches.shape == (2, size[0] * size[1] // 16, 48)
    assert found.loss.isfinite()
    assert found.pictures().shape == (2, 3, *size)


def test_the_position_table_is_fixed_at_every_size():
    model = toy()
    torch.testing.assert_close(model.pos_embed, sincos_position((4, 4), 12), rtol=0, atol=0)
    model.set_input_size((24, 8))
    assert model.pos_embed.shape == (1, 13, 12)
    assert "pos_embed" not in dict(model.named_parameters())
    assert "pos_embed" in model.state_dict()
    assert model.reconstruct(torch.randn(2, 3, 24, 8)).loss.isfinite()


def test_no_classes_unless_asked_for():
    model = toy().eval()
    assert model(IMAGES).shape == (3, 12)
    torch.testing.assert_close(model(IMAGES), model.norm(model.forward_features(IMAGES)[:, 0]))
    model.reset_classifier(5)
    assert model(IMAGES).shape == (3, 5)


def test_saved_and_loaded_it_reconstructs_the_same(tmp_path):
    model, noise = toy(normalise_pixels=True, decoder_depth=3).eval(), torch.rand(3, 16)
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    assert loaded.config == model.config
    assert torch.equal(loaded.reconstruct(IMAGES, noise=noise).loss, model.reconstruct(IMAGES, noise=noise).loss)


def test_checkpointing_changes_no_gradient():
    noise, gradients = torch.rand(3, 16), []
    model = toy()
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model.reconstruct(IMAGES, noise=noise).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_bf16_autocast_trains():
    model, noise = toy(), torch.rand(3, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.reconstruct(IMAGES, noise=noise).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    torch.testing.assert_close(loss.float(), model.reconstruct(IMAGES, noise=noise).loss, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("mask_ratio", "hidden"), [(1e-20, 1), (0.01, 1), (0.3, 5), (0.75, 12), (1.0, 16)])
def test_how_many_patches_are_hidden(mask_ratio, hidden):
    found = toy().reconstruct(IMAGES, mask_ratio)
    assert (found.mask.sum(dim=1) == hidden).all()
    assert found.loss.isfinite()


@pytest.mark.parametrize("mask_ratio", [0.0, -0.5, 1.01, float("nan")])
def test_a_mask_ratio_that_is_none(mask_ratio):
    with pytest.raises(ValueError, match=rf"mask_ratio is {mask_ratio}: it must be above 0"):
        toy().reconstruct(IMAGES, mask_ratio)


def test_noise_of_another_shape():
    with pytest.raises(ValueError, match=r"noise has shape \(3, 9\): give one number per patch, \(3, 16\)"):
        toy().reconstruct(IMAGES, noise=torch.rand(3, 9))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decoder_depth": 0}, "decoder_depth is 0: it must be at least 1"),
        ({"embed_dim": 10, "num_heads": 2}, "embed_dim is 10: sin-cos positions need a multiple of 4"),
    ],
)
def test_bad_configurations_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(CONFIG, **changes)
