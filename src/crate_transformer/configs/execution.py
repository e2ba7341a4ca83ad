"""How a run is carried out: it may be another way each time that the run is resumed."""

from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive

Sharding = Literal["none", "fsdp"]
Tracker = Literal["tensorboard", "wandb"]


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Processes, memory, states and records of a run; they change no weight but by rounding."""

    workers: int = 0
    """Processes that read images, for each process that trains."""
    accumulate: int = 1
    """Parts that a process computes its part of a batch in, one after the other, to take less memory."""
    compile: bool = False
    """Compile the model with torch.compile."""
    save_memory: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""
    sharding: Sharding = "none"
    """fsdp: divide weights and optimiser among the processes (PyTorch's FSDP2), for models too large for one device."""
    checkpoint_every: int = 500
    """Steps between resumable states."""
    keep_states: int = 1
    """How many of the latest states stay during the run."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    tracker: Tracker | None = None
    """Also send the numbers to TensorBoard or Weights & Biases."""
    layerwise: bool = False
    """At each evaluation, also record R^c and the fraction of non-zeros of every layer, on 64 held-out images."""

    def __post_init__(self) -> None:
        check_positive(self, "accumulate", "checkpoint_every", "keep_states", "log_every")
        if self.workers < 0:
            raise ValueError(f"the number of processes that read images is {self.workers}: it must be at least 0")
        check_choice(self, "sharding", get_args(Sharding))
        if self.layerwise and self.compile:
            raise ValueError("layerwise cannot look inside a compiled model: leave out layerwise or compile")
