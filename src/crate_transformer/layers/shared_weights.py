"""Modules that share their parameters."""

from torch import nn


def share_weights(module: nn.Module, owner: nn.Module) -> None:
    """Replace the parameters of ``module`` by those of ``owner``, which has the same structure.

    The submodules stay separate, so that hooks can be registered on each of them, but have no parameters of their own:
    state dicts, optimisers and parameter counts contain only those of ``owner``. Later changes of these apply to both.
    """
    for part, owning in zip(module.modules(), owner.modules(), strict=True):
        names = [name for name, _ in owning.named_parameters(recurse=False)]
        if names:
            for name in names:
                delattr(part, name)
            part.__dict__["owner"] = owning  # not registered as a submodule
            part.__class__ = _borrowing(type(part), names)


def _borrowing(kind: type[nn.Module], names: list[str]) -> type[nn.Module]:
    """A subclass whose parameters of these names are those of ``owner``."""
    members: dict[str, object] = {name: _borrowed(name) for name in names}
    members["__reduce__"] = lambda part: (_empty, (kind, names), part.__dict__)  # pickle finds no class by its name
    return type(kind.__name__, (kind,), members)


def _empty(kind: type[nn.Module], names: list[str]) -> nn.Module:
    """A module of that subclass, before pickle restores its attributes."""
    borrowing = _borrowing(kind, names)
    return borrowing.__new__(borrowing)


def _borrowed(name: str) -> property:
    return property(lambda part: getattr(part.owner, name))
