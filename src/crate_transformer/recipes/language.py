"""Language models on any text, and those of CRATE (arXiv 2311.13110) and ToST (arXiv 2412.17810) on OpenWebText."""

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import DataSet, Expected, Recipe

ANY_TEXT = DataSet(name="any text", classes=0, samples=None, folder="text.txt")
OPENWEBTEXT = DataSet(name="OpenWebText", classes=0, samples=None, folder="openwebtext")
_NOTES = (
    "DATA contains train.bin and val.bin from nanoGPT's preparation of OpenWebText",
    "the settings are those of CRATE in the authors' book; hold_out is for other texts",
)


def text_bytes(model: str = "crate_lm_micro") -> Experiment:
    """A small byte-level model of any text; 30 epochs, or more to reach 300 steps."""
    return Experiment(
        model=model,
        task=LanguageConfig(),
        optimiser=OptimiserConfig(optimizer="muon", betas=(0.9, 0.95), weight_decay=0.1),
    )


def openwebtext(model: str) -> Experiment:
    """600,000 steps of 384 windows of 1,024 GPT-2 tokens."""
    rate = 6e-4
    return Experiment(
        model=model,
        task=LanguageConfig(tokenizer="gpt2", context_length=1024, hold_out=0.0005),
        optimiser=OptimiserConfig(learning_rate=rate, betas=(0.9, 0.95), weight_decay=0.1),
        schedule=ScheduleConfig(steps=600_000, batch_size=384, warmup_steps=2000, final_learning_rate=6e-5 / rate),
    )


LOSSES = {
    "crate_lm_base": (3.37, "arXiv 2311.13110, version 4"),
    "tost_lm_base": (3.20, "README of the authors of ToST"),
    "tost_lm_medium": (2.88, "README of the authors of ToST"),
    "tost_lm_large": (2.72, "README of the authors of ToST"),
}

RECIPES = {
    "text_bytes": Recipe(experiment=text_bytes(), data=ANY_TEXT, notes=("no expected result, because texts differ",)),
    **{
        f"{name}_openwebtext": Recipe(
            experiment=openwebtext(name),
            data=OPENWEBTEXT,
            expected=(Expected(value=loss, measure="cross entropy", unit=" nats", kind="published", source=source),),
            notes=_NOTES if name.startswith("crate") else (*_NOTES, "ToST's own settings are not published"),
        )
        for name, (loss, source) in LOSSES.items()
    },
}
