"""``jaxtyping.jaxtyped`` with beartype, for half the time: no binding of arguments, each of them checked once."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable

import jaxtyping
from beartype import BeartypeConf, beartype

by_jaxtyping, one_call = jaxtyping.jaxtyped, jaxtyping.jaxtyped("context")
by_beartype = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def checked(what: Callable | None = None, *, typechecker: Callable):
    """The decorator that jaxtyping puts on every function and class.

    Functions inside others, which each call makes anew, are not checked.
    """
    if what is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(what):
        if dataclasses.is_dataclass(what) and "__init__" in vars(what):
            what.__init__ = checked(what.__init__, typechecker=typechecker)
        return what
    if "<locals>" in what.__qualname__ or not what.__annotations__:
        return what
    hints = " ".join(map(str, what.__annotations__.values()))
    if inspect.isgeneratorfunction(what) or "{" in hints or not resolvable(what):
        return by_jaxtyping(what, typechecker=typechecker)
    with_checks = by_beartype(what)

    @functools.wraps(what)
    def call(*arguments, **options):
        if jaxtyping.config.jaxtyping_disable:
            return what(*arguments, **options)
        if not shapes:
            return with_checks(*arguments, **options)
        with one_call:
            return with_checks(*arguments, **options)

    shapes = "jaxtyping." in hints
    return call


def resolvable(what: Callable) -> bool:
    """Whether every type of the signature is known by now."""
    try:
        typing.get_type_hints(what)
    except NameError:
        return False
    return True
