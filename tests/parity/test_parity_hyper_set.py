"""Hyper-SET, and CRATE with shared weights, equal the official code: outputs, every step's intermediates, gradients."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints import load_checkpoint, official_hyper_set
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.reading import read_tensors

HINTS = {
    "recurrent": {},
    "layers": {},
    "basic": {},
    "input_cond": {"steps_of": "input"},
    "fixed_step": {},
    "lora": {"rank_scale": 8.0},
    "attn_sigma": {"attention": "sigma"},
    "attn_relu": {"attention": "relu"},
    "attn_linear_sigmoid": {"attention": "sigmoid"},
    "attn_linear_silu": {"attention": "silu"},
    "ff_relu": {"feed_forward": "relu"},
    "ff_softmax": {"feed_forward": "softmax"},
    "ff_gated_sigmoid": {"feed_forward": "sigmoid"},
    "crate": {"num_heads": 3},
    "crate_t": {"num_heads": 3},
}
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_name = pytest.mark.parametrize("name", HINTS)


def load(golden, name):
    config = golden.config("hyper-set", f"hyperset_{name}")
    path = golden.path("hyper-set", f"hyperset_{name}")
    return load_checkpoint(path, img_size=config["img_size"], recurrences=config["n_recur"], **HINTS[name])


def intermediates(model, images):
    """Everything that the golden files record, by plain hooks."""
    seen = {}

    def keep(module, name):
        module.register_forward_hook(lambda _, args, out: seen.update({name: out}))

    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.update(tokens=args[0]))
    model.norm.register_forward_pre_hook(lambda _, args: seen.update(pooled=args[0]))
    for number, block in enumerate(model.blocks):
        lead, attention = f"steps.{number}", block.get_submodule(block.attention)
        block.register_forward_pre_hook(lambda _, args, n=number: seen.update({f"steps.{n}.start": args[0]}))
        parts = {"z": block, "z_half": block.z_half, "attention_branch": attention, "projection": attention.projection}
        for name in ("score", "attention"):
            if hasattr(attention, name):
                parts[name] = getattr(attention, name)
        if hasattr(block, "ff"):
            parts["ff_hidden"] = block.ff.hidden
        if getattr(block, "steps", None):
            parts |= {"alpha": block.steps.alpha, "beta": block.steps.beta}
        for name, module in parts.items():
            keep(module, f"{lead}.{name}")
    with torch.no_grad():
        seen["output"] = model(images)
        for number, block in enumerate(model.blocks):
            lead = f"steps.{number}"
            seen[f"{lead}.projection"] = rearrange(seen[f"{lead}.projection"], "b h n p -> b n (h p)")
            if hasattr(block, "energies"):
                attention, ff = block.energies(seen[f"{lead}.start"])
                seen |= {f"{lead}.energy_attention": attention[:, None], f"{lead}.energy_ff": ff[:, None]}
        if steps := getattr(model.blocks[0], "steps", None):
            numbers = range(1, model.config.recurrences + 1)
            seen["time_table"] = torch.stack([steps.time.encode(number) for number in numbers])
            seen["time_embedding"] = torch.stack([steps.time(number) for number in numbers])
    return seen


def test_every_golden_entry_is_tested(golden):
    assert golden.names("hyper-set") == {f"hyperset_{name}" for name in HINTS}


@every_precision
@every_name
def test_outputs_and_intermediates(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model = golden.tensors("hyper-set", f"hyperset_{name}"), load(golden, name).to(dtype)
    seen = intermediates(model, expected["input"].to(dtype))
    tables = {"pos_emb": model.position(*model.img_size), "time_table": seen.pop("time_table", None)}
    for key, table in tables.items():
        assert table is None or torch.equal(table, expected[key])
    gated = name == "ff_gated_sigmoid"  # whose stored energy is not that whose gradient the update is
    recorded = [key for key in expected if key.endswith("_float64") == bool(suffix) and key not in {"input", *tables}]
    assert len(recorded) >= 3 + 4 * len(model.blocks)
    for key in recorded:
        if not (gated and "energy_ff" in key):
            agree(seen[key.removesuffix(suffix)], expected[key], key)


@every_precision
@every_name
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected = golden.tensors("hyper-set", f"hyperset_{name}", "gradients")
    model = load(golden, name).to(dtype)
    images, labels = expected.pop("input").to(dtype).requires_grad_(), expected.pop("labels")
    logits = model(images)
    target = torch.full_like(logits, 0.1 / (logits.shape[1] - 1)).scatter(1, labels[:, None], 0.9)
    loss = F.cross_entropy(logits, target)
    loss.backward()
    agree(loss, expected.pop("loss"))
    agree(images.grad, expected.pop("input_grad"))
    official = {own: key for key, own in renamings_of(model).items()}
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for own, parameter in model.named_parameters():
        theirs = expected.pop(f"grad.{official[own]}")
        if own == "patch_embed.proj.weight" and parameter.ndim == 4:
            theirs = rearrange(theirs, "d (r s c) -> d c r s", r=parameter.shape[2], s=parameter.shape[3])
        agree(parameter.grad, theirs, own, beside=largest)
    assert not expected


def renamings_of(model):
    config = model.config
    layers = config.depth // config.recurrences
    if hasattr(config, "output"):
        return official_hyper_set.crate_renamings(layers, config.recurrences, config.output, config.class_token)
    return official_hyper_set.renamings(layers, config.recurrences, config.steps, config.class_token, config.rank)


@pytest.mark.parametrize(("name", "table"), [("recurrent", "RENAMED_IN_LAYER"), ("crate", "CRATE_IN_LAYER")])
def test_exchanging_two_renamings_is_noticed(golden, name, table, monkeypatch):
    expected, pairs = golden.tensors("hyper-set", f"hyperset_{name}"), 0
    config = golden.config("hyper-set", f"hyperset_{name}")
    tensors, _ = read_tensors(golden.path("hyper-set", f"hyperset_{name}"))
    hints = {"img_size": config["img_size"], "recurrences": config["n_recur"], **HINTS[name]}
    convert = official_hyper_set.convert if name == "recurrent" else official_hyper_set.convert_crate
    right, rows = convert(tensors, hints), getattr(official_hyper_set, table)
    gains = {"enc.{l}.attn.ln1_1.weight", "enc.{l}.attn.ln1_2.weight"}  # of query and key, which are multiplied
    for one, other in itertools.combinations(rows, 2):
        if {one, other} == gains:
            continue
        if right.tensors[rows[one].format(l=0)].shape != right.tensors[rows[other].format(l=0)].shape:
            continue
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(official_hyper_set, table, rows | {one: rows[other], other: rows[one]})
            wrong = convert(tensors, hints)
            answer = assemble(wrong.model_class, wrong.config, wrong.tensors)(expected["input"])
        assert (answer - expected["output"]).abs().max() > 1e-5, (one, other)
        pairs += 1
    assert pairs >= 2
