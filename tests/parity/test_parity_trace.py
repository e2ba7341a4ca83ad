"""Five training steps equal the official ones: losses, logits, weights and optimiser states."""

import pytest
import torch
import torch.nn.functional as F
from agreement import agree
from lion_pytorch import Lion

from crate_transformer.checkpoints import official_crate

TRACES = ("trace_cls_adamw", "trace_cls_lion", "trace_mean_adamw", "trace_mean_lion")
OPTIMIZERS = {"AdamW": torch.optim.AdamW, "Lion": Lion}


def strip(tensors, prefix):
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def test_every_golden_trace_is_tested(golden):
    assert golden.names("crate-trace") == set(TRACES)


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_five_steps(golden, name, dtype):
    trace, entry = golden.tensors("crate-trace", name), golden.entry("crate-trace", name)
    start = official_crate.convert(strip(trace, "initial."), golden.hints("crate-trace", name))
    model = start.model_class(start.config).to(dtype)
    model.load_state_dict(start.tensors)
    options = {key: value for key, value in entry["optimizer_config"].items() if value is not None}
    optimizer = OPTIMIZERS[entry["optimizer"]](model.parameters(), **options)

    for step in range(5):
        logits = model(trace["inputs"][step].to(dtype))
        loss = F.cross_entropy(logits, trace["labels"][step], label_smoothing=entry["label_smoothing"])
        agree(logits, trace["outputs"][step])
        agree(loss, trace["losses"][step])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    final = official_crate.convert(strip(trace, "final."), golden.hints("crate-trace", name)).tensors
    slots = strip(trace, "optimizer.")
    for own, parameter in model.named_parameters():
        # AdamW divides the rounding of a small entry by that entry; this is still 1 / 65 of how far five steps go
        agree(parameter, final[own], beside=10.0)
        for slot, value in optimizer.state[parameter].items():
            key = f"{start.stored_names[own]}.{slot}"
            if key in slots:
                agree(value, slots.pop(key))
    assert not slots
