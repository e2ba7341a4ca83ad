"""The models that ``gpu_train.py`` trains, each with its recipe."""

from dataclasses import dataclass, field

FINAL_SIDE = 128  # pixels


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model and its recipe; shares are of the model's time, sides in pixels."""

    model: str
    options: dict[str, object] = field(default_factory=dict)
    stages: tuple[tuple[float, int, int], ...] = ((0.2, 48, 1536), (0.55, 64, 1024), (1.0, FINAL_SIDE, 512))
    """Until which share, pictures of which side, how many per step."""
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    label_smoothing: float = 0.1
    min_area: float = 0.3
    mix: float = 0.5
    """Fraction of the batches with mixup or CutMix, until ``mix_until``."""
    mix_until: float = 0.8
    more: float = 0.1
    """Fraction of each batch with photographs of further classes."""
    compile: bool = False


RUNS = {
    "crate": Run(model="crate_mini_patch8_64", options={"embed_dim": 512, "depth": 7, "num_heads": 8}, compile=True),
    "crate_plain": Run(
        model="crate_mini_patch8_64", options={"embed_dim": 512, "depth": 7, "num_heads": 8}, compile=True, mix=0.0
    ),
    "crate_mini": Run(model="crate_mini_patch8_64"),
    "crate_alpha_mini": Run(model="crate_alpha_mini_patch8_64"),
    "tost_mini": Run(model="tost_tiny_patch8_224", options={"img_size": 64, "embed_dim": 144, "depth": 6}),
    "vit_mini": Run(model="vit_mini_patch8_64"),
}
