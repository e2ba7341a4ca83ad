"""What a training objective is to the loop."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from crate_transformer.data import Batch, Samples, View
from crate_transformer.layers.random_numbers import Stream, sample_seeds
from crate_transformer.models import Model

ModelT = TypeVar("ModelT", bound=Model)
SamplesT = TypeVar("SamplesT", bound=Samples)


@dataclass(frozen=True)
class Progress:
    """How far a run is: ``step`` counts from 0, ``seed`` is the run's."""

    step: int
    steps: int
    seed: int

    @property
    def fraction(self) -> float:
        """The fraction of the run that is done."""
        return self.step / self.steps


@runtime_checkable
class Processes(Protocol):
    """What evaluation needs to know of the processes that share a run."""

    rank: int
    world_size: int

    def gather(self, value: object) -> list: ...


class Task(nn.Module, Generic[ModelT, SamplesT]):
    """Owns the modules that an objective needs; its ``forward`` is the objective.

    Every parameter of the task that requires a gradient is trained, those of ``model`` among them.
    """

    model: ModelT
    samples = "images"
    """What it learns from, in the plural."""
    labelled = True
    """Whether each picture has a class; set by whoever knows the pictures."""
    whole_batches = False
    """Whether the loss looks at all pictures of a batch together, so that a batch cannot be computed in parts."""

    @property
    def measure(self) -> str:
        """The number of ``evaluate`` that tells which of two models is better."""
        raise NotImplementedError

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher number is the better one."""
        return True

    @property
    def fingerprint(self) -> dict[str, object]:
        """What else must be the same for a run to be resumed and no setting tells, by the words for it in a sentence;
        anything that JSON can hold."""
        return {}

    @property
    def exported(self) -> ModelT:
        """What is averaged, evaluated and saved: the model, or what the objective makes of it."""
        return self.model

    def view(self) -> View:
        """What it is to see of one sample."""
        raise NotImplementedError

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, the mean over the batch, and other numbers worth a line in the log.

        What is random depends on ``progress.seed`` and the batch's ``positions`` alone, so that any division of a batch
        among processes gives the same.
        """
        raise NotImplementedError

    def seed_model(self, batch: Batch, progress: Progress) -> None:
        """Tell ``model`` what is random for each sample of the batch, such as which blocks it skips."""
        self.model.sample_seeds = sample_seeds(progress.seed, batch["positions"], Stream.MODEL)

    def after_step(self, progress: Progress) -> None:
        """Called when the optimiser has moved the parameters; the step is the one just done."""

    def compile_model(self) -> None:
        """Let PyTorch compile what takes the time.

        Each size of the pictures is compiled by itself: with ``dynamic`` sizes PyTorch fails in the gradient of
        antialiased resampling, which brings position tables to another size.
        """
        self.model.compile(dynamic=False)

    def evaluate(
        self, model: ModelT, held_out: SamplesT, processes: Processes, *, trained_on: SamplesT, num_workers: int
    ) -> dict[str, object]:
        """Numbers of ``model``, which has the parts of ``self.exported``, on held-out samples.

        All processes call this together and get the same numbers.

        Args:
            trained_on: the samples of the training, for what is measured by comparing with these.
        """
        raise NotImplementedError

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        """What ``evaluate`` found, in words."""
        raise NotImplementedError
