"""A full disk, and a place that cannot be written: one sentence, exit code 2, and older files stay whole."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.models import build_model

COMMANDS = {
    "inspect": "inspect {pictures} --checkpoint {new} --output {out} --overwrite",
    "segment": "segment {pictures} --checkpoint {new} --output {out} --overwrite",
    "evaluate": "evaluate {new} --data {pets} --output {out}/results.json --overwrite",
    "evaluate --segmentation": "evaluate {new} --segmentation {masks} --maskcut-size 0 --output {out}/results.json "
    "--overwrite",
    "convert": "convert {new} {out} --overwrite",
    "convert --to official": "convert {new} {out}/model.pth --to official --overwrite",
    "export .onnx": "export {out}/m.onnx --checkpoint {new} --no-dynamic --overwrite",
    "export .pt2": "export {out}/m.pt2 --checkpoint {new} --no-dynamic --overwrite",
    "train": "train --data {pets} --output {out} --model crate_micro_patch4_32 --img-size 8 --batch-size 4 --steps 2",
    "bench": "bench crate_micro_patch4_32 --output {out} --tasks inference --precisions float32 --batch 1 --repeats 1 "
    "--threads 1 --no-memory --only ours reference",
    "quickstart": "quickstart --output {out} --steps 2",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"), reason="mounts need root"
    ),
]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, Path]:
    """Two checkpoints, pictures, pictures with classes, pictures with masks."""
    folder = tmp_path_factory.mktemp("given")
    places = {name: folder / name for name in ("old", "new", "pictures", "pets", "masks")}
    for name, depth in (("old", 1), ("new", 2)):
        model = build_model("crate_micro_patch4_32", img_size=8, depth=depth, num_heads=2, num_classes=2)
        model.class_names = ("cat", "dog")
        save_checkpoint(model, places[name])
    random = np.random.default_rng(0)
    names = [f"pictures/{i}.png" for i in range(2)] + [f"pets/{c}/{i}.png" for c in ("cat", "dog") for i in range(6)]
    for name in (*names, *(f"masks/images/{i}.png" for i in range(5))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / name)
    (folder / "masks" / "masks").mkdir()
    for index in range(5):
        mask = np.zeros((24, 24), dtype=np.uint8)
        mask[2 : 14 + index, 4:20] = 1
        Image.fromarray(mask).save(folder / "masks" / "masks" / f"{index}.png")
    return places


@pytest.fixture
def disk(tmp_path):
    """A disk of 16 MB of its own, and a function that remounts it with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mount: {done.stderr.strip()}")

    mount("size=16m")
    yield place, mount
    subprocess.run(["umount", place], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("broken", ["full", "read-only"])
@pytest.mark.parametrize("command", COMMANDS)
def test_one_sentence_and_old_files_whole(server, given, disk, tmp_path, command, broken):
    place, mount = disk
    out = place / "out"
    words = COMMANDS[command]
    if command not in ("quickstart", "bench", "train"):  # which take minutes, or begin with what they refuse to replace
        first = words.replace("{new}", "{old}").format(**given, out=out).split()
        answer = server.run(first, tmp_path, seconds=200)
        assert answer["code"] == 0, answer["text"]
    if broken == "full":
        with (place / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError, match="No space"):
            while True:
                fill.write(b"x" * 4096)
    else:
        mount("remount,ro")
    before = contents(place)
    answer = server.run(words.format(**given, out=out).split(), tmp_path, seconds=200)
    assert answer["code"] == 2 and "Traceback" not in answer["text"], answer["text"]
    (said,) = [line for line in answer["text"].splitlines() if line.startswith("crate: ")]
    assert ("no space left" if broken == "full" else "read-only file system") in said.lower(), said
    assert str(place) in said, said
    assert contents(place) == before, json.dumps(sorted(contents(place).keys() ^ before.keys()))
