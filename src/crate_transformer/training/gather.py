"""Features of the pictures of all processes."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather


def gather_features(features: Float[Tensor, "batch dim"]) -> Float[Tensor, "all_batches dim"]:
    """The features of all processes, in order of rank, with gradients for each process's own.

    A process's gradient is the sum of those that all processes send it. Where each computes the same function ``f`` of
    the features of all, that is ``world_size`` times the gradient of ``f``, and the mean over the processes, which
    ``DistributedDataParallel`` and FSDP2 take, is the gradient that one process with the whole batch has.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return features
    return torch.cat(all_gather(features.contiguous()))
