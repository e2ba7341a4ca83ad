"""Seeded damage: to bytes, to JSON values, and to folders."""

import copy
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

HOSTILE_VALUES = [
    None,
    True,
    -1,
    0,
    1,
    1e-9,
    1e9,
    10**30,
    10**400,
    2**31,
    -(2**63),
    float("nan"),
    float("inf"),
    "",
    "1",
    "../../etc/passwd",
    "/dev/zero",
    "\x1b[31mred\x07",
    "<script>alert(1)</script>",
    "caf\udce9",
    "\u202egnp.x",
    "a" * 10_000,
    [],
    {},
    [[[[[]]]]],
    [None],
    [1, "a"],
    {"a": {"b": []}},
    [0.5] * 1000,
]


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """One kind of damage: flipped bits, a cut, a repeated, removed, inserted or zeroed part, a large number."""
    if not content:
        return rng.randbytes(1 << rng.randrange(8))
    damaged = bytearray(content)
    start = rng.randrange(len(content))
    length = min(len(content) - start, 1 << rng.randrange(8))
    kind = rng.randrange(8)
    if kind in (0, 1):
        for _ in range(1 << rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del damaged[start:]
    elif kind == 3:
        damaged[start:start] = damaged[start : start + length]
    elif kind == 4:
        del damaged[start : start + length]
    elif kind == 5:
        damaged[start:start] = rng.randbytes(length)
    elif kind == 6:
        damaged[start : start + length] = bytes(length)
    else:
        damaged[start : start + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80"))
    return bytes(damaged)


def damage_json(value: object, rng: random.Random) -> object:
    """One value, somewhere inside, becomes a hostile one; or a key is lost, doubled under another name, or added."""
    value = copy.deepcopy(value)
    places: list[tuple[object, object]] = []

    def visit(inner: object) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            visit(inner[key])

    visit(value)
    if not places or rng.random() < 0.03:
        return rng.choice(HOSTILE_VALUES)
    depth_first = rng.choice(places)
    parent, key = depth_first
    kind = rng.random()
    if kind < 0.15:
        del parent[key]
    elif kind < 0.25 and isinstance(parent, dict):
        parent[rng.choice(["x", "", "__class__", "a\nb", str(key) + " "])] = parent[key]
    else:
        parent[key] = copy.deepcopy(rng.choice(HOSTILE_VALUES))
    return value


def json_bytes(value: object, rng: random.Random) -> bytes:
    """The value as JSON, sometimes damaged as text too."""
    text = json.dumps(value).encode()
    if rng.random() < 0.1:
        return damage_bytes(text, rng)
    if rng.random() < 0.03:
        return b"[" * 100_000 + text
    return text


def damage_folder(folder: Path, rng: random.Random) -> None:
    """One thing that does not belong among pictures, or a picture that is none."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    below = sorted(path for path in [folder, *folder.rglob("*")] if path.is_dir() and not path.is_symlink())
    place, file = rng.choice(below), rng.choice(files)
    content = file.read_bytes()
    name = rng.choice(["x.jpg", "0.png", "Ä.jpeg", "b\udce9.png", "$x$.png", "-rf.png", "a\nb.png", "\x1b[2J.gif"])
    target = place / name

    def put(make: Callable[[], object]) -> None:
        if target.is_symlink() or target.exists():
            target.unlink() if not target.is_dir() or target.is_symlink() else None
        if not target.exists():
            make()

    kinds = [
        lambda: put(lambda: os.mkfifo(target)),
        lambda: put(lambda: target.symlink_to("/dev/zero")),
        lambda: put(lambda: target.symlink_to("nowhere")),
        lambda: put(lambda: target.symlink_to(os.path.relpath(folder, place), target_is_directory=True)),
        lambda: put(lambda: target.symlink_to(target.name)),
        lambda: put(lambda: target.mkdir()),
        lambda: put(lambda: target.write_bytes(b"")),
        lambda: put(lambda: target.write_bytes(rng.randbytes(2000))),
        lambda: put(lambda: target.write_bytes(content)),
        lambda: file.write_bytes(damage_bytes(content, rng)),
        lambda: file.unlink(),
        lambda: (place / rng.choice(["empty", "valid", "test", "runs", "@eaDir", ".hidden", "Train"])).mkdir(
            exist_ok=True
        ),
        lambda: (place / "classes.json").write_bytes(json_bytes(rng.choice(HOSTILE_VALUES), rng)),
    ]
    rng.choice(kinds)()


def hostile_pickle(canary: Path, protocol: int) -> bytes:
    """A pickle that would make the file ``canary`` if anybody unpickled it."""
    import pickle

    class Runs:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {canary}",)

    stream = io.BytesIO()
    pickle.Pickler(stream, protocol).dump({"state_dict": Runs()})
    return stream.getvalue()
