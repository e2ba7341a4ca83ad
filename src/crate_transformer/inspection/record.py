"""What modules output during a forward pass, by name."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import Tensor, nn


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def select_modules(model: nn.Module, *patterns: str) -> dict[str, nn.Module]:
    """The modules that the patterns name, see ``record``; a ``ValueError`` tells the nearest names of a miss."""
    if not patterns:
        raise ValueError("give the name of at least one module, such as 'blocks.*.mssa.attention'")
    modules = {name.removeprefix("_orig_mod."): module for name, module in model.named_modules()}
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in modules):
            near = difflib.get_close_matches(pattern, modules, n=3, cutoff=0.3) or list(modules)[1:4]
            raise ValueError(f"no module is called {pattern!r}; did you mean {', '.join(near)}?")
    return {name: module for name, module in modules.items() if any(_matches(name, p) for p in patterns)}


@contextmanager
def record(
    model: nn.Module, *patterns: str, reduce: Callable[[Tensor], Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules while the ``with`` block runs.

    ``with record(model, "blocks.*.mssa.attention") as seen: model(images)`` leaves in ``seen`` one detached tensor per
    module, from its latest forward pass, in the order in which the modules ran. Recording at a ``HookPoint`` makes the
    layer compute what it usually fuses away. The hooks are removed when the block ends, also by an exception.

    With gradient checkpointing the backward pass runs the layers again: keep it inside the block too, so that both
    passes are recorded alike (PyTorch refuses it otherwise); ``reduce`` is then applied twice.

    Args:
        patterns: names as in ``model.named_modules()``. The shell wildcards ``* ? [..]`` stand for characters within
            one dotted part of a name: ``blocks.*`` is every block and nothing inside the blocks.
        reduce: applied to each output at once; only its result is kept, so that memory stays bounded.

    Raises:
        ValueError: a pattern matches no module; the message names the nearest ones.
        RuntimeError: a matched module never ran. PyTorch silently skips hooks that are added to a model which has
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
