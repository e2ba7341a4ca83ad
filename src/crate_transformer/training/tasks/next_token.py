"""Language models."""

from torch import Tensor

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data import Batch
from crate_transformer.models.language import LanguageModel, next_token_loss
from crate_transformer.training.task import Progress, Task


class NextToken(Task):
    """Cross entropy of next tokens, in nats; ``batch["tokens"]`` holds one token more than the model is given."""

    measure, higher_is_better = "held_out_loss", False

    def __init__(self, config: LanguageConfig, model: LanguageModel) -> None:
        super().__init__()
        self.config, self.model = config, model

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = batch["tokens"]
        return next_token_loss(self.model(tokens[:, :-1]), tokens[:, 1:]), {}
