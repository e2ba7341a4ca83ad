"""The released Hyper-SET for pictures (arXiv 2502.11646), and the CRATE beside it: native ``.pth`` and Lightning's
``.ckpt``."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints import official_crate
from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import (
    permute_axes,
    rename,
    rename_back,
    unfold,
    weights,
    weights_and_biases,
)
from crate_transformer.checkpoints.sizes import as_pair, common_size, count_layers, infer_patches, resolve_num_heads
from crate_transformer.models import HyperSET, HyperSETConfig, RecurrentCRATE, RecurrentCRATEConfig

RENAMED = {"cls_token": "cls_token"} | weights_and_biases({"fc.0": "norm", "fc.1": "head"})
RENAMED_IN_PATCHES = weights_and_biases(
    {"emb.0": "patch_embed.norm_in", "emb.1": "patch_embed.proj", "emb.2": "patch_embed.norm_out"}
)
RENAMED_IN_LAYER = weights(
    {
        "enc.{l}.attn.qkv": "blocks.{l}.attn.subspaces",
        "enc.{l}.attn.ln1_1": "blocks.{l}.attn.query_norm",
        "enc.{l}.attn.ln1_2": "blocks.{l}.attn.key_norm",
        "enc.{l}.attn.ln1_3": "blocks.{l}.attn.value_norm",
        "enc.{l}.mlp": "blocks.{l}.ff.dictionary",
        "enc.{l}.ln2": "blocks.{l}.ff.norm",
    }
)
RENAMED_IN_TIME = weights_and_biases({"1": "fc1", "5": "fc2"}) | weights({"2": "norm1", "4": "norm2", "6": "norm3"})
RENAMED_IN_STEPS = {
    "shared": weights({"ln_inp": "blocks.0.steps.token_norm"})
    | weights_and_biases({"time_mlp.1.1": "blocks.0.steps.out"}),
    "normed": weights({"ln_inp": "blocks.0.steps.token_norm", "time_mlp.1.0": "blocks.0.steps.norm"})
    | weights_and_biases({"time_mlp.1.2": "blocks.0.steps.out"}),
    "own": weights({"enc.{l}.ln_inp": "blocks.{l}.steps.token_norm"})
    | weights({"enc.{l}.time_mlp_inner.0": "blocks.{l}.steps.norm"})
    | weights_and_biases({"enc.{l}.time_mlp_inner.2": "blocks.{l}.steps.out"}),
}
RENAMED_IN_CHANGE = {
    "deltaW_attention_B.{l}": "blocks.{l}.changes.0.left",
    "deltaW_attention_A.{l}": "blocks.{l}.changes.0.right",
    "deltaW_ff_B.{l}": "blocks.{l}.changes.1.left",
    "deltaW_ff_A.{l}": "blocks.{l}.changes.1.right",
}
CRATE_IN_PATCHES = weights_and_biases({"emb": "patch_embed.proj"})
CRATE_IN_LAYER = {
    key.replace("transformer.layers.{l}.0", "enc.{l}.attn").replace("transformer.layers.{l}.1", "enc.{l}.ff"): own
    for key, own in official_crate.RENAMED_IN_LAYER.items()
}


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a Hyper-SET for pictures."""
    return any(re.fullmatch(r"enc\.\d+\.(attn\.(qkv|ln1_\d)|mlp|ln2)\.weight", key) for key in keys)


def recognises_crate(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of the CRATE in Hyper-SET's code."""
    return any(re.fullmatch(r"enc\.\d+\.(attn|ff)\.(fn|norm)\..*", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture, except the energies and the number of recurrences."""
    validate_hints(HyperSETConfig, {}, hints)
    steps = kind_of_steps(tensors.keys())
    changes = count_layers(tensors.keys(), r"deltaW_\w+\.(\d+)")
    layers, recurrences = count_recurrences(tensors.keys(), hints, changes)
    table = renamings(layers, recurrences, steps, "cls_token" in tensors, changes)
    renamed = rename(tensors, table)
    inferred, assumed = around_layers(tensors, hints, r"emb\.(0\.(weight|bias)|1\.weight)")
    inferred |= {"steps": steps, "depth": layers * recurrences}
    atoms = common_size(tensors, 0, r"enc\.\d+\.(mlp|ln2)\.weight")
    inferred["num_atoms"] = hints.get("num_atoms") and atoms if atoms == inferred["embed_dim"] else atoms
    head_dim = common_size(tensors, 0, r"enc\.\d+\.attn\.ln1_[123]\.weight")
    inferred["num_heads"] = inferred["embed_dim"] // max(1, head_dim)
    assumed |= {"attention": "softmax", "feed_forward": "gelu", "steps_of": "tokens", "recurrences": recurrences}
    if steps == "constant":
        assumed["step_size"] = 0.5
    else:
        inferred["time_dim"] = common_size(tensors, 1, r"time_mlp\.(0\.)?1\.weight")
    if changes:
        inferred |= {"rank": common_size(tensors, 0, r"deltaW_\w+_A\.\d+"), "recurrences": changes}
        if "rank_scale" not in hints:
            raise ValueError("the scale of the low-rank changes cannot be inferred from the tensors: give rank_scale=")
    return Converted.of(HyperSET, HyperSETConfig, renamed, table, inferred, assumed, hints)


def convert_crate(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture; without an output map the projection is applied twice."""
    validate_hints(RecurrentCRATEConfig, {}, hints)
    if "num_heads" not in hints:
        raise ValueError("the number of heads cannot be inferred from the tensors: give num_heads=")
    layers, recurrences = count_recurrences(tensors.keys(), hints)
    output = "free" if any(".to_out." in key for key in tensors) else "transposed"
    table = crate_renamings(layers, recurrences, output, "cls_token" in tensors)
    inferred, assumed = around_layers(tensors, hints, r"emb\.weight")
    inferred["depth"] = layers * recurrences
    dim, inner_dim = inferred["embed_dim"], common_size(tensors, 0, r"enc\.\d+\.attn\.fn\.qkv\.weight")
    num_heads = resolve_num_heads(hints["num_heads"], inner_dim, dim, layers)
    if inner_dim != dim:
        inferred["head_dim"] = inner_dim // num_heads
    means_free = "output" in hints and hints["output"] is None and (num_heads > 1 or inner_dim != dim)
    inferred["output"] = None if output == "free" and means_free else output
    rows, columns = as_pair("patch_size", inferred["patch_size"])
    renamed = rename(permute_axes(tensors, {"emb.weight": "d (r s c) -> d c r s"}, r=rows, s=columns), table)
    assumed |= {"recurrences": recurrences, "step_size": 0.1, "sparsity_weight": 0.1}
    return Converted.of(RecurrentCRATE, RecurrentCRATEConfig, renamed, table, inferred, assumed, hints)


def kind_of_steps(keys: AbstractSet[str]) -> str:
    """Where the step sizes of a Hyper-SET come from."""
    if any("time_mlp_inner" in key for key in keys):
        return "own"
    if not any(key.startswith("time_mlp.") for key in keys):
        return "constant"
    return "normed" if any(key.startswith(("time_mlp.1.0.", "time_mlp.1.2.")) for key in keys) else "shared"


def count_recurrences(keys: AbstractSet[str], hints: Mapping[str, Any], changes: int = 0) -> tuple[int, int]:
    """The number of layers, and how often each is applied: by default 12 times for a single layer."""
    layers = count_layers(keys, r"enc\.(\d+)\.")
    return layers, hints.get("recurrences", changes or (12 if layers == 1 else 1))


def around_layers(
    tensors: Mapping[str, Tensor], hints: Mapping[str, Any], patches: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that follow from the tensors outside the layers, and what is assumed: 16 x 16 patches, but images of
    CIFAR for patches of 4 pixels."""
    given = {name: hints[name] for name in ("patch_size", "in_chans") if name in hints}
    inferred = infer_patches(common_size(tensors, -1, patches), 16 * 16, given) | {
        "embed_dim": common_size(tensors, 0, r"fc\.0\.(weight|bias)|emb\.([12]\.bias|2\.weight|bias)"),
        "num_classes": common_size(tensors, 0, r"fc\.1\.(weight|bias)"),
        "class_token": "cls_token" in tensors,
    }
    img_size = inferred.pop("img_size")
    assumed = {"img_size": 32 if inferred["patch_size"] == 4 else img_size}
    if inferred["class_token"]:
        assumed["global_pool"] = "token"
    else:
        inferred["global_pool"] = "avg"
    return inferred, assumed


def renamings(layers: int, recurrences: int, steps: str, class_token: bool, rank: int) -> dict[str, str]:
    """Official name to own name, for so many layers with these step sizes."""
    table = RENAMED | RENAMED_IN_PATCHES | unfold(RENAMED_IN_LAYER, layers, recurrences)
    if steps != "constant":
        lead = "time_mlp." if steps == "own" else "time_mlp.0."
        table |= {f"{lead}{key}": f"blocks.0.steps.time.{own}" for key, own in RENAMED_IN_TIME.items()}
        table |= unfold(RENAMED_IN_STEPS[steps], layers if steps == "own" else 1, recurrences)
    table |= unfold(RENAMED_IN_CHANGE, recurrences if rank else 0)
    return {key: own for key, own in table.items() if class_token or key != "cls_token"}


def crate_renamings(layers: int, recurrences: int, output: str, class_token: bool) -> dict[str, str]:
    """Official name to own name, for so many layers with this output map."""
    table = RENAMED | CRATE_IN_PATCHES | unfold(CRATE_IN_LAYER, layers, recurrences)
    kept = [key for key in table if (class_token or key != "cls_token") and (output == "free" or ".to_out." not in key)]
    return {key: table[key] for key in kept}


def restore(model: HyperSET) -> dict[str, Any]:
    """What the native training loop saves, without an optimiser."""
    config = model.config
    layers = -(-config.depth // config.recurrences)
    table = renamings(layers, config.recurrences, config.steps, config.class_token, config.rank)
    return {"epoch": 0, "model_state_dict": rename_back(model, table)}


def restore_crate(model: RecurrentCRATE) -> dict[str, Any]:
    """What the native training loop saves, without an optimiser."""
    config = model.config
    layers = -(-config.depth // config.recurrences)
    tensors = rename_back(model, crate_renamings(layers, config.recurrences, "free", config.class_token))
    return {"epoch": 0, "model_state_dict": permute_axes(tensors, {"emb.weight": "d c r s -> d (r s c)"})}


FORMAT = OfficialFormat("official Hyper-SET", recognises, convert, (HyperSET, restore))
CRATE_FORMAT = OfficialFormat(
    "official CRATE of Hyper-SET", recognises_crate, convert_crate, (RecurrentCRATE, restore_crate)
)
