"""What a classifier may be asked about photographs: only those whose subject is one of its classes."""

from collections.abc import Mapping, Sequence

from crate_transformer.inspection import Look

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "cat": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "cup", "coffee mug"),
    "rocket": ("missile", "projectile"),
    "astronaut": (),
}
"""Of ``data.PHOTOGRAPHS``, with the classes of ImageNet, by their first names, that the subject belongs to."""


def answer(name: str, look: Look, class_names: Sequence[str]) -> str:
    """What the model says to a photograph, where that means anything: a classifier without the class has no answer."""
    known = [first_name(kind) for kind in class_names if first_name(kind) in SUBJECTS[name]]
    if not known:
        return f"{name}: shows none of its classes, so only where it looks is shown"
    right = [f"{first_name(kind)} {fraction:.0%}" for kind, fraction in look.top if first_name(kind) in known]
    told = (
        f"among its {len(look.top)} likeliest: {', '.join(right)}"
        if right
        else f"not among its {len(look.top)} likeliest"
    )
    return f"{name}: one of its classes ({' or '.join(known)}), {told}"


def knowledge(class_names: Sequence[str], top1: float, count: int) -> str:
    """What the model knows and what it does not."""
    examples = ", ".join(map(first_name, class_names[:: max(1, len(class_names) // 4)][:4]))
    return (
        f"The bundled model knows {len(class_names)} classes ({examples}, ...) and nothing else; shown anything "
        f"else, it still names one of them. It names {top1:.0%} of {count:,} validation images of its classes."
    )


def first_name(kind: str) -> str:
    """``"tabby"`` of ``"tabby, tabby cat"``."""
    return kind.split(",")[0]
