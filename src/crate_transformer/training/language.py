"""Next-token prediction."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from crate_transformer.models.language import next_token_loss


@dataclass(frozen=True)
class NextToken:
    """Cross entropy of next tokens; ``loss(model, (token_ids, targets))`` is a scalar; targets of -1 do not count."""

    def __call__(
        self, model: nn.Module, batch: tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]
    ) -> Float[Tensor, ""]:
        token_ids, targets = batch
        return next_token_loss(model(token_ids), targets)
