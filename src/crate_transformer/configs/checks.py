"""Range checks for settings."""

import math


def check_positive(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each of these numbers is greater than 0 and finite; ``None`` means not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}: it must be greater than 0")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each of these numbers is at least 0 and finite; ``None`` means not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}: it must not be negative")


def check_fraction(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each of these numbers is between 0 and 1; ``None`` means not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}: it must be between 0 and 1")


def check_choice(settings: object, name: str, known: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless the setting is one of the ``known`` values."""
    value = getattr(settings, name)
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(known)}")
