"""Agreement with stored outputs on any processor."""

import torch

SPACINGS = 64  # sums of 200 terms round off by about 7 spacings, ten of them in a row by 22; three times that


def agree(ours: torch.Tensor, theirs: torch.Tensor, said: str = "", *, beside: float = 0.0) -> None:
    """Equal but for rounding in the precision of ``ours``, which is relative to the largest entry of ``theirs``.

    Args:
        beside: the largest number of which small entries may be differences, such as other parameters' gradients.
    """
    largest = max(theirs.abs().max().item(), beside)
    bound = SPACINGS * torch.finfo(ours.dtype).eps * largest
    torch.testing.assert_close(
        ours.detach().double(), theirs.double(), rtol=0, atol=bound, msg=lambda m: f"{said}: {m}"
    )
