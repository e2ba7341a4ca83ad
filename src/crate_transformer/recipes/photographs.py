"""Predictions on photographs, shown only if the subject is one of the model's classes."""

from collections.abc import Mapping, Sequence

from crate_transformer.inspection import Look

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "cat": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "cup", "coffee mug"),
    "rocket": ("missile", "projectile"),
    "astronaut": (),
}
"""Some of ``data.PHOTOGRAPHS``, with the ImageNet classes (by their first names) of the subject."""


def answer(name: str, look: Look, class_names: Sequence[str]) -> str:
    """The prediction for a photograph, or a note that the subject is none of the model's classes."""
    known = [first_name(kind) for kind in class_names if first_name(kind) in SUBJECTS[name]]
    if not known:
        return f"{name}: none of the model's classes, so only the attention is shown"
    right = [f"{first_name(kind)} {fraction:.0%}" for kind, fraction in look.top if first_name(kind) in known]
    told = (
        f"in its top {len(look.top)} predictions: {', '.join(right)}"
        if right
        else f"not in its top {len(look.top)} predictions"
    )
    return f"{name}: one of the model's classes ({' or '.join(known)}), {told}"


def knowledge(class_names: Sequence[str], top1: float, count: int) -> str:
    """The classes of the model, and its accuracy on them."""
    examples = ", ".join(map(first_name, class_names[:: max(1, len(class_names) // 4)][:4]))
    return (
        f"The bundled model has {len(class_names)} classes ({examples}, ...) and always predicts one of them. It "
        f"classifies {top1:.0%} of {count:,} validation images of these classes correctly."
    )


def first_name(kind: str) -> str:
    """``"tabby"`` of ``"tabby, tabby cat"``."""
    return kind.split(",")[0]
