"""Where numbers stop being finite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from crate_transformer.training.sharding import is_sharded


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds an infinity or no number."""
    return next((name for name, tensor in tensors.items() if not bool(_local(tensor).isfinite().all())), None)


def blame(task: nn.Module, loss: Tensor, *arguments: object) -> str:
    """What in a step is not finite, in words; the step is computed again to find the first such output.

    That takes all processes, unless weights are divided among them, where it is left out.

    Args:
        loss: the same in all processes.
        arguments: those of the task's forward pass.
    """
    if name := first_not_finite(dict(task.named_parameters())):
        return f"the weight {name} is not finite"
    if not bool(loss.isfinite()):
        layer = None if is_sharded(task) else _first_layer(task, *arguments)
        return f"the loss is {loss.item()}" + (f", and the output of {layer} is not finite" if layer else "")
    gradients = {name: p.grad for name, p in task.named_parameters() if p.grad is not None}
    names = [name for name, gradient in gradients.items() if not bool(_local(gradient).isfinite().all())]
    return f"the gradient of {names[-1]} is not finite" if names else "the norm of the gradient is not finite"


def _first_layer(task: nn.Module, *arguments: object) -> str | None:
    found: list[str] = []

    def look(name: str):
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not bool(output.isfinite().all()):
                found.append(name)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in task.named_modules() if name]
    try:
        with torch.no_grad():
            task(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
