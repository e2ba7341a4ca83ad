"""ViTs that other libraries build and save give the same outputs and attention here."""

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.inspection import attention_maps
from crate_transformer.models import ViT

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 7}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
ROUNDED = {"rtol": 1e-5, "atol": 1e-5}  # ViT of transformers rounds its attention maps to float32
pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.filterwarnings("default")]  # of packages not ours


def trained(model):
    """The model in float64 with no parameter at a constant, as if it had been trained."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def of_transformers(transformers, kind):
    """A model of this kind."""
    sizes = SIZES | {"attn_implementation": "eager", "layer_norm_eps": 1e-6}
    if kind == "ViT":
        config = transformers.ViTConfig(intermediate_size=64, num_labels=5, **sizes)
        return trained(transformers.ViTForImageClassification(config))
    return trained(getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**sizes)))


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Dinov2WithRegisters"])
def test_a_folder_of_transformers(transformers, tmp_path, kind):
    theirs, bound = of_transformers(transformers, kind), ROUNDED if kind == "ViT" else EXACT
    theirs.save_pretrained(tmp_path)
    ours = load_checkpoint(tmp_path).double()
    assert isinstance(ours, ViT) and ours.num_reg_tokens == 4 * (kind == "Dinov2WithRegisters")
    images = torch.randn(2, 3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = theirs(images, output_attentions=True, output_hidden_states=True)
        with ours.capture_attention(range(2)) as maps:
            features, layers = ours.forward_intermediates(images, return_prefix_tokens=True, output_fmt="NLC")
    for (patches, prefix), expected in zip(layers, seen.hidden_states[1:], strict=True):
        torch.testing.assert_close(torch.cat([prefix, patches], dim=1), expected, **bound)
    for found, expected in zip(maps, seen.attentions, strict=True):
        torch.testing.assert_close(found, expected, **bound)
    last = seen.logits if kind == "ViT" else seen.last_hidden_state
    torch.testing.assert_close(ours.forward_head(features) if kind == "ViT" else ours.norm(features), last, **bound)
    read, converted = (attention_maps(model, images).maps for model in (theirs, ours))
    torch.testing.assert_close(torch.from_numpy(read), torch.from_numpy(converted), **bound)


def test_positions_at_another_size_are_those_of_dinov2_with_registers(transformers, tmp_path):
    theirs = of_transformers(transformers, "Dinov2WithRegisters").float()
    theirs.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 42, 35)
    with torch.no_grad():
        features = load_checkpoint(tmp_path).embed(images)
        torch.testing.assert_close(features, theirs.embeddings(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "relu"}, "the activation is relu, but our ViT has only gelu"),
        ({"use_swiglu_ffn": True}, "this ViT needs feed-forward layers with SwiGLU"),
    ],
)
def test_what_our_vit_does_not_have_is_refused(transformers, tmp_path, change, sentence):
    transformers.Dinov2Model(transformers.Dinov2Config(**SIZES, **change)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reg_tokens": 4},
        {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.1},
        {"no_embed_class": True, "num_classes": 0, "img_size": (28, 42)},
    ],
)
def test_a_vit_of_timm(timm, tmp_path, options):
    sizes = {"img_size": 28, "patch_size": 7, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5} | options
    theirs = trained(timm.models.vision_transformer.VisionTransformer(**sizes))
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = load_checkpoint(tmp_path / "vit.pth", num_heads=2, img_size=sizes["img_size"]).double()
    images = torch.randn(2, 3, *ours.img_size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.norm(ours.forward_features(images)), theirs.forward_features(images), **EXACT)
        torch.testing.assert_close(ours(images), theirs(images), **EXACT)
    read, converted = (attention_maps(model, images).maps for model in (theirs, ours))
    torch.testing.assert_close(torch.from_numpy(read), torch.from_numpy(converted), **EXACT)
