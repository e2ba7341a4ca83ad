"""Weights and optimisers divided among processes by PyTorch's FSDP2."""

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate


def shard(model: nn.Module, device: torch.device, world_size: int) -> None:
    """Divide the parameters of ``model`` in place, each block by itself, then the rest.

    Accelerate's plugin is not used, because it does nothing on a CPU, where the tests run.

    Raises:
        ValueError: there is one process.
    """
    if world_size == 1:
        raise ValueError("sharding is fsdp in one process: start several with torchrun, or leave sharding at none")
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size,))
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or name.rpartition(".")[2] != "blocks":
            continue
        if all(any(True for _ in block.parameters()) for block in module):  # none shares its weights
            for block in module:
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: nn.Module) -> bool:
    """Whether ``shard`` divided its parameters."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all of a divided one; all processes call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, values: Tensor) -> Tensor:
    """``values``, which every process has as a whole, divided as ``tensor`` is, without an exchange."""
    if not isinstance(tensor, DTensor):
        return values
    mesh = tensor.device_mesh
    everywhere = DTensor.from_local(values, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(placements=tensor.placements)


@torch.no_grad()
def copy_whole(target: Tensor, values: Tensor) -> None:
    """Put ``values``, which every process has as a whole, into ``target``, which may be divided."""
    target.copy_(divided_like(target, values.to(target.device)))
