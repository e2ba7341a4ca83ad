"""Agent attention equals the official code that adapts ViTs: output, intermediates, gradients."""

import pytest
import torch
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.layers import AgentAttention, Attention, grid_means

NAMES = ("cbsa_vit", "cbsa_vit_nobias_qknorm")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
RENAMED = {"q_norm": "query_norm", "k_norm": "key_norm", "norm": "out_norm", "proj": "out", "qkv": "qkv"}
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_name = pytest.mark.parametrize("name", NAMES)


def own_name(official):
    part, kind = official.split(".")
    return f"{RENAMED[part]}.{kind}"


def load(golden, name):
    config = golden.config("cbsa-vit", name)
    options = {"qkv_bias": config["qkv_bias"], "qk_norm": config["qk_norm"], "out_norm": config["scale_norm"]}
    layer = AgentAttention(config["dim"], config["heads"], pooling="shifted", **options)
    tensors, _ = read_tensors(golden.path("cbsa-vit", name))
    layer.load_state_dict({own_name(key): tensor for key, tensor in tensors.items()})
    return layer


def test_every_golden_entry_is_tested(golden):
    assert golden.names("cbsa-vit") == set(NAMES)


@every_precision
@every_name
def test_output_and_intermediates(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, layer = golden.tensors("cbsa-vit", name), load(golden, name).to(dtype)
    seen = {}
    for part in ("qkv", "query", "coefficients", "out_norm"):
        getattr(layer, part).register_forward_hook(lambda _, args, out, part=part: seen.update({part: out}))
    with torch.no_grad():
        seen["output"] = layer(expected["input"].to(dtype))
    seen["before_proj"] = seen["out_norm"]
    seen["representatives_initial"] = grid_means(seen["query"], None, "shifted")
    seen["coefficients"] = seen["coefficients"].mT
    v = rearrange(seen["qkv"], "b n (three h p) -> three b h n p", three=3, h=layer.num_heads)[2]
    seen["representatives"] = seen["coefficients"] @ v
    for key in ("qkv", "representatives_initial", "coefficients", "representatives", "before_proj", "output"):
        agree(seen[key], expected[f"{key}{suffix}"], key)


@every_precision
@every_name
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected, layer = golden.tensors("cbsa-vit", name, "gradients"), load(golden, name).to(dtype)
    z = expected.pop("input").to(dtype).requires_grad_()
    loss = (layer(z) * expected.pop("loss_weight").to(dtype)).mean()
    loss.backward()
    agree(loss, expected.pop("loss"), beside=1.0)
    agree(z.grad, expected.pop("input_grad"))
    parameters, largest = dict(layer.named_parameters()), max(g.abs().max().item() for g in expected.values())
    assert len(parameters) == len(expected)
    for key, theirs in expected.items():
        agree(parameters[own_name(key.removeprefix("grad."))].grad, theirs, key, beside=largest)


@every_precision
def test_the_ordinary_attention_of_the_same_weights(golden, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, layer = golden.tensors("cbsa-vit", "cbsa_vit"), Attention(24, 3)
    layer.load_state_dict(load(golden, "cbsa_vit").state_dict())
    with torch.no_grad():
        agree(layer.to(dtype)(expected["input"].to(dtype)), expected[f"output_unadapted{suffix}"])
