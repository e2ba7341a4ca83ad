"""One of several processes that compute a SimDINO loss together."""

import dataclasses
import os
import warnings
from pathlib import Path

import torch
from small_problem import CONFIG, make_images
from torch.nn.parallel import DistributedDataParallel

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.data import ordered_loader
from crate_transformer.models import CRATE
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.simdino import SameCrops, SimDINO

BATCH = 8


def loss_and_gradients(rank: int, count: int, folder: Path) -> None:
    """Save them in ``folder/COUNT-RANK.pt``; each process has its part of the batch."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CRATE(dataclasses.replace(CONFIG, num_classes=0))
    task = SimDINO(SimDINOConfig(hidden_dim=16, feature_dim=6, local_crops=2), model, AugmentConfig()).train()
    with torch.no_grad():  # features that are apart
        for name, parameter in task.projection.named_parameters():
            parameter.mul_(50 if "weight" in name else 1)
    (batch,) = ordered_loader(make_images().subset(range(BATCH)), SameCrops(task.view()), size=(8, 8), batch_size=BATCH)
    part = slice(rank * BATCH // count, (rank + 1) * BATCH // count)
    batch = {name: value[part] for name, value in batch.items()}
    objective = task
    if count > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": str(count)}
        store = torch.distributed.FileStore(str(folder / "store"), count)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=count)
        objective = DistributedDataParallel(task)
    loss, numbers = objective(batch, Progress(0, 1, 0))
    loss.backward()
    found = {name: p.grad for name, p in task.named_parameters() if p.requires_grad}
    torch.save({"numbers": numbers | {"loss": loss.detach()}, "gradients": found}, folder / f"{count}-{rank}.pt")
    if count > 1:
        torch.distributed.destroy_process_group()
