"""Learning from pictures without labels, by filling in hidden patches."""

from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.mae import MAEConfig
from crate_transformer.data import Batch, EvalView, Source, TrainView, View, ordered_loader
from crate_transformer.inspection import frozen
from crate_transformer.layers.random_numbers import Stream, uniforms
from crate_transformer.models import CRATEMAE
from crate_transformer.training.pictures import Normalise
from crate_transformer.training.probe import describe_probe, knn_probe
from crate_transformer.training.task import Processes, Progress, Task

EVALUATION_SEED = 0  # held-out pictures always hide the same patches


class MaskedAutoencoding(Task[CRATEMAE, Source]):
    """Mean squared error on the hidden patches (arXiv 2404.02446).

    Whether pixels are normalised is the model's own matter, ``CRATEMAEConfig.normalise_pixels``.
    """

    def __init__(self, config: MAEConfig, model: CRATEMAE, augment: AugmentConfig) -> None:
        super().__init__()
        if augment.mixes:
            raise ValueError("mixup and cutmix are for objectives that learn classes: leave them out")
        self.config, self.model, self.augment = config, model, augment
        self.normalise = Normalise(model.preprocessing)
        for part in model.head.parameters():
            part.requires_grad_(False)  # reconstruction does without it

    @property
    def measure(self) -> str:
        return "held_out_loss"

    @property
    def higher_is_better(self) -> bool:
        return False

    def view(self) -> View:
        return TrainView(self.augment, self.model.preprocessing)

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        self.seed_model(batch, progress)
        return self._loss(self.model, batch, progress.seed), {}

    def _loss(self, model: CRATEMAE, batch: Batch, seed: int) -> Tensor:
        images = self.normalise(batch["images"])
        rows, columns = model.grid_size(*images.shape[-2:])
        noise = uniforms(seed, batch["positions"], rows * columns, Stream.MASK)
        return model(images, mask_ratio=self.config.mask_ratio, noise=noise).loss

    def compile_model(self) -> None:
        for block in [*self.model.blocks, *self.model.decoder.blocks]:
            block.compile(dynamic=False)

    def evaluate(
        self, model: CRATEMAE, held_out: Source, processes: Processes, *, trained_on: Source, num_workers: int
    ) -> dict[str, object]:
        loader = ordered_loader(
            held_out,
            EvalView(model.preprocessing),
            size=model.preprocessing.img_size,
            batch_size=256,
            num_workers=num_workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        total, count, device = 0.0, 0, self.normalise.mean.device
        with frozen(model):
            for batch in loader:
                batch = {name: value.to(device) for name, value in batch.items()}
                total += len(batch["images"]) * self._loss(model, batch, EVALUATION_SEED).item()
                count += len(batch["images"])
        totals, counts = zip(*processes.gather((total, count)), strict=True)
        loss = sum(totals) / sum(counts)
        # the loss reaches the patches; a class token learns little, and only through them
        probe = knn_probe(model, trained_on, held_out, processes, num_workers=num_workers, tokens="patches")
        return {self.measure: loss, **probe}

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        return f"squared error of hidden patches {numbers['held_out_loss']:.4f}{describe_probe(numbers)}"
