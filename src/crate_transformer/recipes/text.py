"""Models and data of the objective that learns from text."""

from dataclasses import dataclass

import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.configs.language import TokenizerName
from crate_transformer.data import Split
from crate_transformer.models import LanguageModel, build_language_model
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.storage import as_record


@dataclass(frozen=True, kw_only=True)
class HeldOutText:
    """What a checkpoint says under ``split``: the digest of which text was held out from its token ``first`` on."""

    how: str
    divided_here: bool
    text: str
    first: int


def prepare_text(experiment: Experiment, split: Split, *, show: bool) -> Prepared:
    """A model for the vocabulary and the context; what a checkpoint to start from held out is held out again.

    Raises:
        ValueError: the checkpoint to start from is no language model or takes other tokens; all of the text was held
            out by it; or a setting concerns pictures.
    """
    schedule, length = experiment.schedule, experiment.task.context_length
    if schedule.scale != 1 or schedule.small_until:
        raise ValueError("scale and small_until are about the size of pictures: leave them out")
    model, train, held_out = language_model(experiment), split.train, split.val
    provenance = getattr(model, "provenance", None)
    if provenance and "split" in provenance.metadata:
        earlier = as_record(provenance.metadata["split"], HeldOutText, f"the metadata of {provenance.source}")
        if earlier.text == train.digest and earlier.first < train.stop:
            if earlier.first <= length:
                raise ValueError(f"{experiment.start_from} held out {train.where}: give another text")
            if show:
                again = train.stop - earlier.first
                print(f"{again:,} tokens that {experiment.start_from} held out are not trained on here either")
            train = train.between(train.first, earlier.first)
        elif earlier.text == held_out.digest and earlier.first > held_out.first:
            held_out = held_out.between(min(earlier.first, held_out.stop - 2), held_out.stop)
    kept = HeldOutText(how=split.how, divided_here=split.divided_here, text=held_out.digest, first=held_out.first)
    return Prepared(model=model, train=train, held_out=held_out, size=lambda _step: (1, length + 1), split=kept)


def language_model(experiment: Experiment) -> LanguageModel:
    """The model to train, with the same fresh parameters for the same seed."""
    task, start = experiment.task, experiment.start_from
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(experiment.loop.seed)
            return build_language_model(experiment.model, **{**task.model_options(0), **experiment.options})
    model = load_checkpoint(start)
    if not isinstance(model, LanguageModel):
        raise ValueError(f"start_from {start} takes pictures: give a language model")
    if experiment.options:
        raise ValueError(f"start_from {start} decides {', '.join(sorted(experiment.options))}: leave that option out")
    for name, known in (("vocab_size", task.vocabulary), ("context_length", task.context_length)):
        has = getattr(model.config, name)
        if known > has or (name == "vocab_size" and known != has):
            raise ValueError(f"{name} is {known}, and start_from {start} has {has}: give that")
    return model


@dataclass(frozen=True, kw_only=True)
class _Task:
    tokenizer: TokenizerName
    vocab_size: int | None


@dataclass(frozen=True, kw_only=True)
class _Experiment:
    task: _Task


def tokenizer_of(model: LanguageModel) -> TokenizerName | None:
    """What the checkpoint of ``model`` was trained with; ``None`` where it does not tell, or it was another one.

    Raises:
        ValueError: what it tells is damaged.
    """
    provenance = model.provenance
    if "experiment" not in provenance.metadata:
        return None
    told = as_record(provenance.metadata["experiment"], _Experiment, f"the metadata of {provenance.source}").task
    return told.tokenizer if told.vocab_size is None else None
