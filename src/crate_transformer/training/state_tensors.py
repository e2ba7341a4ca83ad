"""The tensors of a resumable state."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

TENSORS = "tensors.safetensors"
"""The file in the folder of a state."""


def state_tensors(task: nn.Module, average: nn.Module | None, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Every tensor that a run goes on from, by name; they share memory with the task and the optimisers."""
    tensors = {f"task.{name}": tensor.detach() for name, tensor in task.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor.detach() for name, tensor in average.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in values.items()}
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors on the CPU and of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file of tensors; tied weights are stored once for each name.

    Raises:
        OSError: it cannot be written.
    """
    stored: dict[int, str] = {}
    tied = {name for name, t in tensors.items() if t.numel() and stored.setdefault(t.data_ptr(), name) != name}
    try:
        save_file({name: t.clone() if name in tied else t for name, t in tensors.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def make_tensors(optimizer: Optimizer, indices: set[str]) -> None:
    """Let a fresh optimiser make what it remembers of these parameters, by a step without gradients."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        parameter.grad = torch.zeros_like(parameter) if str(index) in indices else None
    optimizer.step()
    optimizer.zero_grad()


def check_room(folder: Path, task: nn.Module, *, copies: int, averaged: bool) -> None:
    """Check that the disk takes so many states, of which some may be there; one is written before another is removed.

    A state holds the weights, two tensors for each of them, and their average.

    Raises:
        OSError: it does not.
    """
    state = (4 if averaged else 3) * sum(tensor.nbytes for tensor in task.state_dict().values())
    there = sum(file.stat().st_size for file in folder.glob(f"state-*/{TENSORS}"))
    needed, free = max(state, copies * state - there), shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / 1e6:,.0f} MB and this run needs {needed / 1e6:,.0f} MB: "
            "make room or choose another output folder"
        )
