"""Models and data for language modelling."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.language import VOCABULARY, LanguageConfig, TokenizerName
from crate_transformer.data import Split, Tokens, open_evaluation_text
from crate_transformer.models import LanguageModel, build_language_model
from crate_transformer.recipes.experiment import Experiment, FittedExperiment
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.storage import as_record
from crate_transformer.training.processes import Processes
from crate_transformer.training.tasks.next_token import NextToken


@dataclass(frozen=True, kw_only=True)
class HeldOutText:
    """The entry ``split`` of a checkpoint: the digest of the text, which was held out from token ``first`` on."""

    how: str
    divided_here: bool
    text: str
    first: Annotated[int, msgspec.Meta(ge=0)]


def prepare_text(experiment: FittedExperiment, split: Split[Tokens], *, show: bool) -> Prepared:
    """A model for the vocabulary and context length; text held out by the checkpoint to start from is held out again.

    Raises:
        ValueError: the checkpoint to start from is not a language model or has another tokenizer; it held out the whole
            text; or a setting is for images.
    """
    schedule, task = experiment.schedule, experiment.task
    if not isinstance(task, LanguageConfig):
        raise ValueError(f"text is for the task language, not for {type(task).__name__}")
    length = task.context_length
    if schedule.scale != 1 or schedule.small_until:
        raise ValueError("scale and small_until are for images: leave them out")
    if experiment.augment != AugmentConfig() or experiment.crop_pct != 1:
        raise ValueError("augment and crop_pct are for images: leave them out")
    model, train, held_out = language_model(experiment, task), split.train, split.val
    provenance = getattr(model, "provenance", None)
    if provenance and "split" in provenance.metadata:
        earlier = as_record(provenance.metadata["split"], HeldOutText, f"the metadata of {provenance.source}")
        if earlier.text == train.digest and earlier.first < train.stop:
            if earlier.first <= length:
                raise ValueError(f"{experiment.start_from} held out {train.where}: give another text")
            if show:
                again = train.stop - earlier.first
                print(f"{again:,} tokens held out by {experiment.start_from} are not used for training")
            train = train.between(train.first, earlier.first)
        elif earlier.text == held_out.digest and earlier.first > held_out.first:
            held_out = held_out.between(min(earlier.first, held_out.stop - 2), held_out.stop)
    kept = HeldOutText(how=split.how, divided_here=split.divided_here, text=held_out.digest, first=held_out.first)
    return Prepared(model=model, train=train, held_out=held_out, size=lambda _step: (1, length + 1), split=kept)


def language_model(experiment: Experiment, task: LanguageConfig) -> LanguageModel:
    """The model to train; the same seed gives the same new parameters."""
    start = experiment.start_from
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(experiment.loop.seed)
            return build_language_model(experiment.model, **{**task.model_options(0), **experiment.options})
    model = load_checkpoint(start)
    if not isinstance(model, LanguageModel):
        raise ValueError(f"start_from {start} is a vision model: give a language model")
    if experiment.options:
        options = ", ".join(sorted(experiment.options))
        raise ValueError(f"start_from {start} determines {options}: leave that option out")
    for name, known in (("vocab_size", task.vocabulary), ("context_length", task.context_length)):
        has = getattr(model.config, name)
        if known > has or (name == "vocab_size" and known != has):
            raise ValueError(f"{name} is {known}, but start_from {start} has {has}: give the same value")
    return model


@dataclass(frozen=True, kw_only=True)
class TrainedWith:
    """The tokenizer settings stored in a checkpoint."""

    tokenizer: TokenizerName
    vocab_size: int | None
    context_length: int


@dataclass(frozen=True, kw_only=True)
class _Experiment:
    task: TrainedWith


def trained_with(model: LanguageModel) -> TrainedWith | None:
    """The tokenizer settings stored in the checkpoint of ``model``, or ``None``.

    Raises:
        ValueError: the entry is damaged.
    """
    provenance = model.provenance
    if "experiment" not in provenance.metadata:
        return None
    return as_record(provenance.metadata["experiment"], _Experiment, f"the metadata of {provenance.source}").task


def tokenizer_of(model: LanguageModel) -> TokenizerName | None:
    """The tokenizer of the checkpoint of ``model``; ``None`` if it is not stored, or was another one."""
    told = trained_with(model)
    return told.tokenizer if told and told.vocab_size is None else None


def evaluate_text(
    model: LanguageModel, path: Path, tokenizer: TokenizerName | None, *, num_workers: int = 0
) -> dict[str, object]:
    """The loss on the text that training held out, if known, else on all of it, with a description of the text used.

    Args:
        path: as in ``open_evaluation_text``.
        tokenizer: default: the one stored in the checkpoint.

    Raises:
        ValueError: no tokenizer is known; or as in ``open_evaluation_text``.
    """
    told, config = trained_with(model), model.config
    name = tokenizer or (told and told.tokenizer)
    if name is None:
        raise ValueError(f"{model.provenance.source} does not contain its tokenizer: give it with --tokenizer")
    others = told is not None and tokenizer is None and told.vocab_size is not None
    task = LanguageConfig(
        tokenizer=name,
        vocab_size=config.vocab_size if others or config.vocab_size != VOCABULARY[name] else None,
        context_length=min(told.context_length, config.context_length) if told else config.context_length,
    )
    text, used, warning = unseen_text(model, open_evaluation_text(path, task))
    numbers = NextToken(task, model).evaluate(model, text, Processes(), trained_on=text, num_workers=num_workers)
    return {"text_used": used, "text_digest": text.fingerprint(), "warning": warning, **numbers}


def unseen_text(model: LanguageModel, text: Tokens) -> tuple[Tokens, str, str | None]:
    """The part of ``text`` that training held out, else all of it; with a description, and a warning if training may
    have used it."""
    metadata, which = model.provenance.metadata, f"all {text.num_tokens:,} tokens of {text.where}"
    if "split" not in metadata:
        return text, which, "the checkpoint does not say which text it was trained on: it may be this one"
    told = as_record(metadata["split"], HeldOutText, f"the metadata of {model.provenance.source}")
    if told.text != text.digest:
        return text, which, "this text is not known to have been held out: training may have used it"
    if told.first:
        text = text.between(min(told.first, text.stop - 2), text.stop)
        which = f"the last {text.num_tokens:,} of the {text.stop:,} tokens of {text.where}"
    return text, f"{which}, which training held out", None
