"""``one_replica.py FAMILY...``: one of two processes that train together; prints whose gradients are right.

``RANK``, ``WORLD_SIZE``, ``INIT``, a file in which they meet, and ``SEED`` come from the environment.
"""

import copy
import os
import sys
from datetime import timedelta

import torch
from test_fold import EXACT, build, inputs
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

rank, replicas = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)
meeting = {"init_method": os.environ["INIT"], "timeout": timedelta(minutes=3)}
distributed.init_process_group("gloo", rank=rank, world_size=replicas, **meeting)
for family in sys.argv[1:]:
    torch.manual_seed(int(os.environ["SEED"]))
    alone = build(family)
    batch, unused = inputs(alone), getattr(alone, "not_in_logits", ())
    together = DistributedDataParallel(copy.deepcopy(alone), find_unused_parameters=bool(unused))
    early, optimizers = alone.fold(), [torch.optim.SGD(m.parameters(), lr=0.1) for m in (alone, together)]
    before = early(batch)
    for _ in range(2):
        for optimizer in optimizers:
            optimizer.zero_grad()
        alone(batch).square().mean().backward()
        together(batch.chunk(replicas)[rank]).square().mean().backward()
        for (name, parameter), twin in zip(alone.named_parameters(), together.parameters(), strict=True):
            if not name.startswith(unused):
                torch.testing.assert_close(twin.grad, parameter.grad, rtol=1e-10, atol=1e-12, msg=f"{family} {name}")
        for optimizer in optimizers:
            optimizer.step()
    expected = alone(batch)
    torch.testing.assert_close(together(batch), expected, **EXACT)
    torch.testing.assert_close(together.module.fold()(batch), expected, **EXACT)
    assert torch.equal(early(batch), before) and not torch.allclose(before, expected)
    print(family, flush=True)
distributed.destroy_process_group()
