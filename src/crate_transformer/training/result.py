"""What a run came to."""

from dataclasses import dataclass, field

from crate_transformer.models import Model
from crate_transformer.training.precision import MixedPrecision
from crate_transformer.training.state import Divergence


@dataclass(frozen=True)
class TrainResult:
    """What a run came to; ``seconds`` are those spent in the loop, over all sessions of a resumed run.

    ``model`` is the trained model, or the average of its weights where there is one; ``numbers`` what was found of it
    on held-out data, ``best_step`` where these were best. ``restarts`` tells where the run diverged before it went on
    with lower learning rates.
    """

    model: Model
    steps: int
    loss: float
    seconds: float
    precision: MixedPrecision
    resumed_at: int
    earlier_seconds: float
    restarts: tuple[Divergence, ...] = ()
    numbers: dict[str, object] = field(default_factory=dict)
    best_step: int | None = None
