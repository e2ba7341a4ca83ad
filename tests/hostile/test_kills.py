"""SIGKILL at random moments: what was there is as it was or as it becomes, and the next run leaves nothing behind."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.cli.outputs import checksum
from crate_transformer.integrations.export import check_export
from crate_transformer.models import build_model
from crate_transformer.storage import recover

KILLS = int(os.environ.get("CRATE_KILLS", "10"))  # of each command
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """Two checkpoints and six pictures."""
    folder = tmp_path_factory.mktemp("given")
    for name, depth in (("old", 1), ("new", 2)):
        model = build_model("crate_micro_patch4_32", img_size=16, depth=depth, num_heads=2, num_classes=2)
        save_checkpoint(model, folder / name)
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / "pictures" / f"{index}.png")
    return folder


def contents(folder: Path) -> Contents:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def whole(found: Contents, old: Contents, new: Contents, given: Path, folder: Path) -> None:
    """All files are the old ones, or all are the new ones."""
    assert found in (old, new)


def loadable(found: Contents, old: Contents, new: Contents, given: Path, folder: Path) -> None:
    """A checkpoint is one of the two; its card begins with the name of the folder."""
    models = {checksum(load_checkpoint(given / name)) for name in ("old", "new")}
    assert checksum(load_checkpoint(folder)) in models and found.keys() == old.keys()


def runnable(found: Contents, old: Contents, new: Contents, given: Path, folder: Path) -> None:
    """A model for other runtimes gives the logits of the model that the file beside it names."""
    assert found.keys() == old.keys()
    description = json.loads(found["m.onnx.json"])
    assert description["bytes"] == len(found["m.onnx"])
    model = load_checkpoint(description["model"])
    check_export(found["m.onnx"], model, dynamic=False)


def unfinished(found: Contents, old: Contents, new: Contents, given: Path, folder: Path) -> None:
    """The lists of ``crate segment`` are there only with all they name; without, every record has its pictures."""
    if "results.json" in found:
        assert found in (old, new)
        return
    stems = {Path(name).stem for name in found if name.startswith("objects/")}
    assert "coco_results.json" not in found
    assert {f"{kind}/{stem}.png" for kind in ("masks", "overlays") for stem in stems} <= found.keys()


@pytest.mark.parametrize(
    ("command", "check", "same_bytes"),
    [
        (["convert", "{checkpoint}", "{out}"], loadable, False),
        (["segment", "{pictures}", "--checkpoint", "{checkpoint}", "--output", "{out}"], unfinished, True),
        (["inspect", "{pictures}", "--checkpoint", "{checkpoint}", "--output", "{out}"], whole, True),
        (["export", "{out}/m.onnx", "--checkpoint", "{checkpoint}", "--no-dynamic"], runnable, False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_old_or_new_but_never_half(
    server, given, tmp_path, seed, command: list[str], check: Callable[..., None], same_bytes: bool
):
    def arguments(checkpoint: str, out: Path, *more: str) -> list[str]:
        places = {"checkpoint": given / checkpoint, "pictures": given / "pictures", "out": out}
        return [*(word.format(**places) for word in command), *more]

    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "out"
    for name, folder in (("old", old), ("new", new)):
        folder.mkdir()
        answer = server.run(arguments(name, folder), tmp_path, seconds=120)
        assert answer["code"] == 0, answer["text"]
    before, after = contents(old), contents(new)
    random_number = random.Random(seed)
    delays = sorted(random_number.uniform(0, answer["seconds"]) for _ in range(KILLS))
    print(f"{command[0]}, seed {seed}, killed after {[round(delay, 3) for delay in delays]} s")
    killed = 0
    for delay in delays:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(old, out)
        answer = server.run(arguments("new", out, "--overwrite"), tmp_path, seconds=delay)
        assert answer["code"] in (-9, 0), answer["text"]
        killed += answer["code"] == -9
        recover(out)
        check(contents(out), before, after, given, out)
        again = server.run(arguments("new", out, "--overwrite"), tmp_path, seconds=120)
        assert again["code"] == 0, again["text"]
        found = contents(out)
        assert found.keys() == after.keys(), f"left behind after {delay} s: {found.keys() ^ after.keys()}"
        assert not same_bytes or found == after
    assert killed, "every run ended before its kill"
