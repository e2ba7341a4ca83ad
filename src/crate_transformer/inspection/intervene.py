"""Replacing outputs of modules by name during a forward pass."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from crate_transformer.inspection.record import select_modules

Change = Callable[[Tensor], Tensor]


@contextmanager
def intervene(model: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Replace the outputs of the named modules by functions of them while the ``with`` block runs.

    ``with intervene(model, {"blocks.3.mssa.head_output": change}): model(images)`` continues the forward pass with
    ``change(output)``. Gradients flow through the change. If several patterns match one module, the changes are applied
    in order; a ``record`` inside the block records the changed output. The hooks are removed when the block ends, also
    after an exception.

    With gradient checkpointing the backward pass runs the layers again, so it must be inside the block too.

    Args:
        changes: pattern, as in ``record`` -> function of the output, which must keep shape, dtype and device.

    Raises:
        ValueError: a pattern matches no module, or a change does not return a tensor like the output.
        RuntimeError: a matched module never ran; see ``record``.
    """
    modules = [(name, module, change) for pattern, change in changes.items()
               for name, module in select_modules(model, pattern).items()]  # fmt: skip
    if not modules:
        select_modules(model)
    silent = {name for name, _, _ in modules}

    def hook(name: str, change: Change) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
        def replace(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            silent.discard(name)
            changed = change(output)
            if not isinstance(changed, Tensor):
                raise ValueError(f"the change of {name} returned a {type(changed).__name__}: it must return a tensor")
            if (changed.shape, changed.dtype, changed.device) != (output.shape, output.dtype, output.device):
                raise ValueError(
                    f"the change of {name} returned {tuple(changed.shape)} {changed.dtype} on {changed.device}, but "
                    f"the output is {tuple(output.shape)} {output.dtype} on {output.device}: they must be the same"
                )
            return changed

        return replace

    handles = [module.register_forward_hook(hook(name, change)) for name, module, change in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if silent:
        raise RuntimeError(
            f"nothing was changed at {', '.join(sorted(silent)[:5])}{' and others' if len(silent) > 5 else ''}: the "
            "modules did not run inside the with block, or the model was compiled before (change the uncompiled model)"
        )
