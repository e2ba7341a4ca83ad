"""How a run is executed; these settings may change when it is resumed."""

from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive

Sharding = Literal["none", "fsdp"]
Tracker = Literal["tensorboard", "wandb"]


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Processes, memory, states and logging of a run; they change the weights by rounding at most."""

    workers: int = 0
    """Data-loading processes for each training process."""
    accumulate: int = 1
    """Gradient accumulation: number of micro-batches that each process divides its batch into, to save memory."""
    compile: bool = False
    """Compile the model with torch.compile."""
    save_memory: bool = False
    """Gradient checkpointing: recompute each block in the backward pass instead of storing its activations."""
    sharding: Sharding = "none"
    """fsdp: shard weights and optimiser over the processes (PyTorch's FSDP2), for models too large for one device."""
    checkpoint_every: int = 500
    """Steps between resumable states."""
    keep_states: int = 1
    """Number of latest states to keep during the run."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    tracker: Tracker | None = None
    """Also log the metrics to TensorBoard or Weights & Biases."""
    layerwise: bool = False
    """At each evaluation, also log R^c and the fraction of non-zeros of every layer, on 64 held-out images."""

    def __post_init__(self) -> None:
        check_positive(self, "accumulate", "checkpoint_every", "keep_states", "log_every")
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}: it must be at least 0")
        check_choice(self, "sharding", get_args(Sharding))
        if self.layerwise and self.compile:
            raise ValueError("layerwise cannot measure a compiled model: leave out layerwise or compile")
