"""Features of the pictures of all processes."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def gather_features(features: Float[Tensor, "batch dim"]) -> Float[Tensor, "all_batches dim"]:
    """The features of all processes, in order of rank; each process has as many.

    A process's gradient is the sum of those that all processes have for its features. Where each computes the same
    function of the features of all, that is ``world_size`` times the gradient of the function, and the mean over the
    processes, which ``DistributedDataParallel`` and FSDP2 take, is the gradient of one process with the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return features
    return _Gather.apply(features)


class _Gather(torch.autograd.Function):
    """PyTorch's own, in ``torch.distributed.nn``, is deprecated, and what replaces it is not in every version."""

    @staticmethod
    def forward(ctx: object, features: Tensor) -> Tensor:
        parts = [torch.empty_like(features) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]
