"""Recording outputs of modules by name during a forward pass."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import Tensor, nn


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def select_modules(model: nn.Module, *patterns: str) -> dict[str, nn.Module]:
    """The modules that match the patterns, see ``record``; raises ``ValueError`` with similar names if there are
    none."""
    if not patterns:
        raise ValueError("give the name of at least one module, such as 'blocks.*.mssa.attention'")
    modules = {name.removeprefix("_orig_mod."): module for name, module in model.named_modules()}
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in modules):
            near = difflib.get_close_matches(pattern, modules, n=3, cutoff=0.3) or list(modules)[1:4]
            raise ValueError(f"there is no module {pattern!r}; did you mean {', '.join(near)}?")
    return {name: module for name, module in modules.items() if any(_matches(name, p) for p in patterns)}


@contextmanager
def record(
    model: nn.Module, *patterns: str, reduce: Callable[[Tensor], Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules while the ``with`` block runs.

    After ``with record(model, "blocks.*.mssa.attention") as seen: model(images)``, ``seen`` contains one detached
    tensor per module, from its latest forward pass, in the order of execution. Recording at a ``HookPoint`` makes the
    layer compute explicitly what a fused kernel otherwise hides. The hooks are removed when the block ends, also after
    an exception.

    With gradient checkpointing the backward pass runs the layers again, so it must be inside the block too, and both
    passes are recorded (otherwise PyTorch raises an error); ``reduce`` is then applied twice.

    Args:
        patterns: names as in ``model.named_modules()``. The shell wildcards ``* ? [..]`` match characters within one
            dotted part of a name: ``blocks.*`` matches every block, but nothing inside the blocks.
        reduce: applied to each output immediately; only its result is kept, to bound memory.

    Raises:
        ValueError: a pattern matches no module; the message names similar ones.
        RuntimeError: a matched module never ran. PyTorch silently skips hooks that are added to a model that has
            already run under ``torch.compile``.
    """
    modules = select_modules(model, *patterns)
    seen: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def keep(module: nn.Module, args: tuple, output: Tensor) -> None:
            seen[name] = output.detach() if reduce is None else reduce(output.detach())

        return keep

    handles = [module.register_forward_hook(recorder(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name in modules if name not in seen]
    if silent:
        raise RuntimeError(
            f"nothing was recorded from {', '.join(silent[:5])}{' and others' if len(silent) > 5 else ''}: the modules "
            "did not run inside the with block, or the model was compiled before (record the uncompiled model instead)"
        )
