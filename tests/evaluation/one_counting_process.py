"""One of several processes that share a set of images: prints the accuracy and calibration error of all of them.

``RANK``, ``WORLD_SIZE`` and ``INIT``, a file in which they meet, come from the environment.
"""

import os
from datetime import timedelta

import torch
from torch import distributed, nn

from crate_transformer.evaluation import accuracy_counts
from crate_transformer.evaluation.accuracy import over_processes

WAIT = timedelta(minutes=3)
rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)
if processes > 1:
    meeting = {"init_method": os.environ["INIT"], "timeout": WAIT}
    distributed.init_process_group("gloo", rank=rank, world_size=processes, **meeting)
generator = torch.Generator().manual_seed(0)
logits, labels = torch.randn(103, 12, generator=generator), torch.randint(12, (103,), generator=generator)
first, last = (0, 103) if processes == 1 else ((0, 70), (70, 103))[rank]
share = list(zip(logits[first:last].split(16), labels[first:last].split(16), strict=True))
model = nn.Linear(12, 12)
nn.init.eye_(model.weight.detach())
nn.init.zeros_(model.bias.detach())
counts = over_processes(accuracy_counts(model, share))
print(counts.result(), repr(counts.result()), counts.calibration.error)
if processes > 1:
    distributed.destroy_process_group()
