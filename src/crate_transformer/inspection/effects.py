"""Effects of single heads and atoms on a prediction, measured by switching them off (ablation)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crate_transformer.inspection.classify import probabilities
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.intervene import intervene
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.inspection.record import record, select_modules
from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceMeans:
    """The mean output of each head and each atom of the sparse code over the tokens of ``images`` images."""

    heads: tuple[Float[Tensor, "heads head_dim"], ...]
    codes: tuple[Float[Tensor, " atoms"], ...]
    images: int


@dataclass(frozen=True, kw_only=True)
class HeadEffects:
    """Probabilities of the most likely ``classes`` of each image with one head at a time switched off.

    The output of the head is replaced by ``zero``, or by its ``mean`` over reference images. Zero alone overstates the
    effect of a head, because later layers never received it in training. ``intact`` are the probabilities of the whole
    model.
    """

    classes: Int[np.ndarray, "images shown"]
    intact: Float[np.ndarray, "images shown"]
    zero: Float[np.ndarray, "images layers heads shown"]
    mean: Float[np.ndarray, "images layers heads shown"]


def reference_means(
    model: Backbone, images: Float[Tensor, "images channels height width"] | Iterable
) -> ReferenceMeans:
    """The mean outputs of all heads and atoms over all tokens of the reference images.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs.

    Raises:
        ValueError: there are no images.
    """
    names = [*map(_head_output, range(len(model.blocks))), *filter(None, map(partial(_code, model), _layers(model)))]
    totals: dict[str, Tensor] = {}
    count = 0
    for batch in batches(images, batch_size=64):
        with frozen(model), ExitStack() as recording:
            seen = [recording.enter_context(record(model, name, reduce=_token_mean)) for name in names]
            model.forward_features(to_model(model, batch))
        for name, found in zip(names, seen, strict=True):
            (mean,) = found.values()
            totals[name] = totals.get(name, 0) + mean * len(batch)
        count += len(batch)
    if not count:
        raise ValueError("the mean output of heads needs at least one image")
    means = [totals[name] / count for name in names]
    depth = len(model.blocks)
    return ReferenceMeans(heads=tuple(means[:depth]), codes=tuple(means[depth:]), images=count)


def probabilities_without(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    *,
    heads: Sequence[tuple[int, int]] = (),
    atoms: Mapping[int, Sequence[int]] | None = None,
    means: ReferenceMeans | None = None,
) -> Float[np.ndarray, "images classes"]:
    """Probabilities of all classes with these heads and atoms switched off together.

    Args:
        heads: pairs of layer and head, zero-based.
        atoms: layer -> atoms of its sparse code.
        means: replacement values; default: zero.

    Raises:
        ValueError: there is no such layer, head or atom, or the model has no classifier.
    """
    _check_classifier(model)
    changes = {}
    for layer in sorted({layer for layer, _ in heads}):
        chosen = [head for at, head in heads if at == layer]
        _check(model, layer, chosen, model.config.num_heads, "head")
        changes[_head_output(layer)] = _replacing(chosen, 1, means and means.heads[layer])
    for layer, chosen in (atoms or {}).items():
        _check(model, layer, (), 0, "layer")
        if (name := _code(model, layer)) is None:
            raise ValueError(f"{type(model).__name__} has no sparse code: there are no atoms to switch off")
        _check(model, layer, chosen, num_atoms(model), "atom")
        changes[name] = _replacing(chosen, -1, means and means.codes[layer])
    with frozen(model), ExitStack() as changing:
        if changes:
            changing.enter_context(intervene(model, changes))
        return at_least_float32(probabilities(model, model(to_model(model, images)))).cpu().numpy()


def head_effects(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    means: ReferenceMeans,
    *,
    shown: int = 5,
    progress: Callable[[int], object] | None = None,
) -> HeadEffects:
    """Switch off every head of every layer, one at a time.

    Args:
        means: means over the reference images, from ``reference_means``.
        shown: number of most likely classes.
        progress: called after each layer with the number done.

    Raises:
        ValueError: the model has no classifier.
    """
    _check_classifier(model)
    num_heads, found = model.config.num_heads, {"zero": [], "mean": []}
    with frozen(model):
        z = model.embed(to_model(model, images))
        context, inputs = model.context(z, *images.shape[-2:]), []
        for layer in _layers(model):
            inputs.append(z)
            z = model.run_block(layer, z, **context)
        intact = at_least_float32(probabilities(model, model.forward_head(model.after_blocks(z))))
        top = intact.topk(min(shown, model.num_classes), dim=-1)
        for layer in _layers(model):
            for kind, mean in (("zero", None), ("mean", means.heads[layer])):
                for head in range(num_heads):
                    with intervene(model, {_head_output(layer): _replacing([head], 1, mean)}):
                        z = model.run_block(layer, inputs[layer], **context)
                    for later in range(layer + 1, len(model.blocks)):
                        z = model.run_block(later, z, **context)
                    answer = probabilities(model, model.forward_head(model.after_blocks(z)))
                    found[kind].append(at_least_float32(answer).gather(-1, top.indices).cpu().numpy())
            if progress:
                progress(layer + 1)
    by_head = {
        kind: np.stack(parts, axis=1).reshape(len(images), len(model.blocks), num_heads, -1)
        for kind, parts in found.items()
    }
    return HeadEffects(classes=top.indices.cpu().numpy(), intact=top.values.cpu().numpy(), **by_head)


def num_atoms(model: Backbone) -> int:
    """Number of entries in the sparse code of a token; 0 if there is no sparse code."""
    step = model.blocks[0].sparse_step
    return 0 if step is None else step.dictionary.shape[1]


def _layers(model: Backbone) -> range:
    return range(len(model.blocks))


def _head_output(layer: int) -> str:
    return f"blocks.{layer}.*.head_output"


def _code(model: Backbone, layer: int) -> str | None:
    code = model.blocks[layer].sparse_code
    return code and f"blocks.{layer}.{code}"


def _token_mean(output: Tensor) -> Tensor:
    """The mean over images and tokens of ``(batch, heads, tokens, head_dim)`` or ``(batch, tokens, atoms)``."""
    return at_least_float32(output).mean(dim=(0, -2))


def _replacing(chosen: Sequence[int], dim: int, mean: Tensor | None) -> Callable[[Tensor], Tensor]:
    """A function that replaces these heads (``dim`` 1) or atoms (``dim`` -1) by zero or the mean."""

    def change(output: Tensor) -> Tensor:
        off = torch.zeros(output.shape[dim], dtype=torch.bool, device=output.device)
        off[list(chosen)] = True
        if dim == 1:
            off = off[:, None, None]
        instead = output.new_zeros(()) if mean is None else mean.to(output)[:, None] if dim == 1 else mean.to(output)
        return torch.where(off, instead, output)

    return change


def _check_classifier(model: Backbone) -> None:
    if not model.num_classes:
        raise ValueError(f"this {type(model).__name__} has no classifier: num_classes is 0")
    select_modules(model, _head_output(0))


def _check(model: Backbone, layer: int, chosen: Sequence[int], count: int, what: str) -> None:
    if not 0 <= layer < len(model.blocks):
        raise ValueError(f"there is no layer {layer}: the model has layers 0 to {len(model.blocks) - 1}")
    for number in chosen:
        if not 0 <= number < count:
            raise ValueError(f"there is no {what} {number}: the model has {what}s 0 to {count - 1}")
