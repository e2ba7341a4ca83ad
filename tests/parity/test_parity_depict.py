"""DEPICT equals the official code: every layer, its attention, logits of every pixel, and gradients."""

import pytest
import torch
import torch.nn.functional as F
from agreement import agree

from crate_transformer.checkpoints import load_checkpoint, official_depict
from crate_transformer.models import backbone

NAMES = ("depict_sa", "depict_ca", "depict_sa_padded")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def load(golden, monkeypatch):
    """The released code resamples positions bilinearly, this package bicubically."""

    def bilinear(table, old, new, prefix):
        grid = table[:, prefix:].unflatten(1, old).permute(0, 3, 1, 2)
        resampled = F.interpolate(grid, new, mode="bilinear").flatten(2).mT
        return torch.cat([table[:, :prefix], resampled], dim=1)

    def load(name):
        config = golden.config("depict", name)
        height, width = config["model_image_size"]
        heads = config["encoder"]["heads"]
        return load_checkpoint(golden.path("depict", name), img_size=(height, width), num_heads=heads)

    monkeypatch.setattr(backbone, "resample_position", bilinear)
    return load


def test_every_golden_entry_is_tested(golden):
    assert golden.names("depict") == set(NAMES)


@every_precision
@every_name
def test_outputs_and_layers(golden, load, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model, seen = golden.tensors("depict", name), load(name).to(dtype), {}
    decoder = model.decoder
    nets = {"net" if decoder.class_norm is None else "snet": decoder.layers, "cnet": decoder.cross_layers}

    def keep(module, name, made=lambda args, out: out):
        module.register_forward_hook(lambda _, args, out: seen.update({name: made(args, out)}))

    keep(decoder, "decoder_input", lambda args, _: args[0])
    keep(decoder.cosine, "cosine")
    for net, layers in nets.items():
        for number, layer in enumerate(layers):
            lead = f"{net}.layers.{number}"
            keep(layer, f"{lead}.input", lambda args, _: args[-1])
            keep(layer, f"{lead}.update", lambda args, out: out - args[0])
            keep(layer, f"{net}.output")
            keep(layer.mssa.attention, f"{lead}.attention")
            if net == "cnet":
                keep(layer, f"{lead}.query", lambda args, _: args[0])
    with torch.no_grad():
        seen["output"] = model(expected["input"].to(dtype))
        masks = decoder(seen["decoder_input"])
    seen["masks"] = masks.unflatten(2, expected["masks"].shape[-2:])
    recorded = [key for key in expected if key.endswith("_float64") == bool(suffix) and key != "input"]
    assert len(recorded) >= 8
    for key in recorded:
        agree(seen[key.removesuffix(suffix)], expected[key], key)


@every_precision
@every_name
def test_gradients_of_every_parameter(golden, load, name, precision):
    expected, model = golden.tensors("depict", name, "gradients"), load(name).to(PRECISIONS[precision][0])
    images = expected.pop("input").to(PRECISIONS[precision][0]).requires_grad_()
    loss = F.cross_entropy(model(images), expected.pop("labels").long(), ignore_index=255)
    loss.backward()
    agree(loss, expected.pop("loss"))
    agree(images.grad, expected.pop("input_grad"))
    decoder = model.decoder
    counts = len(model.backbone.blocks), len(decoder.layers), len(decoder.cross_layers)
    official = {own: key for key, own in official_depict.renamings(*counts).items()}
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for own, parameter in model.named_parameters():
        agree(parameter.grad, expected.pop(f"grad.{official[own]}"), own, beside=largest)
    assert not expected
