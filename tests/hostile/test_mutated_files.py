"""Thousands of damaged pictures, checkpoints, folders and JSON files: each is one answer or one sentence, never worse.

Never worse means: no traceback, nothing executed, at most 10 seconds and 2 GB, and no silent change where the format
can tell (PNG, zip and our own checkpoints carry checksums).
"""

import json
import os
import random
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import fork_server
import numpy as np
import pytest
import torch
from huggingface_hub import save_torch_state_dict
from mutate import damage_bytes, damage_folder, damage_json, hostile_pickle, json_bytes
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint, save_official
from crate_transformer.models import build_model

COUNT = int(os.environ.get("CRATE_MUTATIONS", "5000"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
MODES = {"PNG": ("RGB", "RGBA", "L", "P", "I;16", "1"), "JPEG": ("RGB", "L", "CMYK"), "TIFF": ("RGB", "L", "I;16", "F")}


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """Tiny checkpoints in every kind of file, small pictures in every format, a folder of classes, COCO data."""
    folder = tmp_path_factory.mktemp("originals")
    model = build_model("crate_micro_patch4_32", img_size=16, depth=2, num_classes=2).eval()
    model.class_names = ("cat", "dog")
    save_checkpoint(model, folder / "native", metadata={"attention": {"layer": 1, "head": 0, "chosen": "by hand"}})
    save_official(model, folder / "official.pth")
    registered = build_model("crate_micro_patch4_32", num_classes=2)
    torch.save({"arch": "crate_micro_patch4_32", "state_dict": registered.state_dict()}, folder / "bare.pth")
    (folder / "sharded").mkdir()
    save_torch_state_dict(registered.state_dict(), str(folder / "sharded"), max_shard_size=10**6)
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for form in FORMATS:
        for mode in MODES.get(form, ("RGB",)):
            picture = _picture(rng, mode)
            picture.save(folder / "pictures" / f"{mode.replace(';', '')}.{form.lower()}", format=form)
    for kind in ("cat", "dog"):
        (folder / "pets" / kind).mkdir(parents=True)
        for index in range(4):
            _picture(rng, "RGB").save(folder / "pets" / kind / f"{index}.png")
    coco = folder / "coco"
    (coco / "images").mkdir(parents=True)
    images, annotations = [], []
    for index in range(4):
        _picture(rng, "RGB").save(coco / "images" / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "height": 24, "width": 24})
        polygon = [[4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]]
        runs = {"size": [24, 24], "counts": [100, 200, 276]}
        for category, segment in ((1, polygon), (2, runs)):
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": category, "segmentation": segment,
                 "iscrowd": int(category == 2), "bbox": [4, 4, 16, 16], "area": 256}
            )  # fmt: skip
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (coco / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    boxes = {f"{kind}/{index}.png": [2, 2, 20, 20] for kind in ("cat", "dog") for index in range(4)}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def _picture(rng: np.random.Generator, mode: str) -> Image.Image:
    shape, dtype = (24, 24), np.uint8
    if mode == "I;16":
        dtype = np.uint16
    elif mode == "F":
        dtype = np.float32
    elif mode in ("RGB", "RGBA", "CMYK"):
        shape = (24, 24, len(mode))
    if mode in ("P", "1"):
        return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).convert(mode)
    values = rng.random(shape) if mode == "F" else rng.integers(0, np.iinfo(dtype).max, shape)
    return Image.fromarray(values.astype(dtype), mode if mode == "CMYK" else None)


def check(answer: dict, folder: Path, what: str, codes: tuple[int, ...] = (0, 2)) -> None:
    """The command gave an answer or one sentence, in time, in little memory, and ran nothing."""
    said = f"{what}: code {answer['code']}, {answer['seconds']:.1f} s, {answer['megabytes']:.0f} MB\n{answer['text']}"
    assert answer["code"] in codes, said
    assert "Traceback" not in answer["text"], said
    assert "\x1b" not in answer["text"], said
    assert answer["megabytes"] < fork_server.MEGABYTES, said
    assert not (folder / "canary").exists(), said
    if answer["code"] == 2:
        last = [line for line in answer["text"].splitlines() if line.startswith("crate: ")]
        assert len(last) == 1, said


class Faults:
    """Collects what went wrong, so that one run shows all of it."""

    def __init__(self, keep: Path) -> None:
        self.keep, self.found, self.codes = keep, [], Counter()

    def watch(self, answer: dict, folder: Path, what: str) -> None:
        self.codes[answer["code"]] += 1
        try:
            check(answer, folder, what)
        except AssertionError as fault:
            self.found.append(str(fault).splitlines()[0] + " ... " + answer["text"].strip()[-300:])
            if not (self.keep / what).exists():
                shutil.copytree(folder, self.keep / what, symlinks=True, ignore=_only_regular)

    def end(self) -> None:
        print(dict(self.codes), "kept in", self.keep)
        assert not self.found, f"{len(self.found)} faults, files in {self.keep}:\n" + "\n\n".join(self.found[:20])


def _only_regular(folder: str, names: list[str]) -> list[str]:
    """What not to copy: devices and pipes."""
    paths = [Path(folder) / name for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]


@pytest.fixture
def faults(tmp_path):
    (tmp_path / "faults").mkdir()
    return Faults(tmp_path / "faults")


def scratch(tmp_path: Path) -> Path:
    """An empty folder for one command."""
    folder = tmp_path / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def test_pictures(server, originals, faults, tmp_path, seed):
    from crate_transformer.data import BrokenImageError, read_image

    rng = random.Random(seed)
    files = sorted((originals / "pictures").iterdir())
    for index in range(COUNT * 2 // 5):
        folder, file = scratch(tmp_path), rng.choice(files)
        damaged = folder / f"x{rng.choice([file.suffix, file.suffix, '.jpg'])}"
        damaged.write_bytes(damage_bytes(file.read_bytes(), rng))
        answer = server.run(["classify", damaged.name, "--checkpoint", originals / "native", "--json"], folder)
        faults.watch(answer, folder, f"picture-{index}-{file.name}")
        if file.suffix == ".png" and answer["code"] == 0:
            try:
                same = np.array_equal(np.array(read_image(damaged)), np.array(read_image(file)))
            except BrokenImageError:
                same = True
            if not same:
                faults.found.append(f"picture-{index}: a PNG with a wrong checksum was read with other pixels")
    faults.end()


CHECKPOINTS = {
    "config": "native/config.json",
    "weights": "native/model.safetensors",
    "official": "official.pth",
    "pickle": "official.pth",
    "bare": "bare.pth",
    "index": "sharded/model.safetensors.index.json",
    "shard": "sharded/model-00001-of-00002.safetensors",
}
"""What is damaged, and its file."""


def test_checkpoints(server, originals, faults, tmp_path, seed):
    rng = random.Random(seed + 1)
    names = {kind: file.partition("/")[0] for kind, file in CHECKPOINTS.items()}
    hints = {name: {"num_heads": 4} if name == "official.pth" else {} for name in names.values()}
    good = {name: load_checkpoint(originals / name, **hints[name]).state_dict() for name in hints}
    for index in range(COUNT // 5):
        folder, kind = scratch(tmp_path), rng.choice(list(CHECKPOINTS))
        name, file = names[kind], folder / CHECKPOINTS[kind]
        (shutil.copytree if (originals / name).is_dir() else shutil.copy)(originals / name, folder / name)
        if kind in ("config", "index"):
            file.write_bytes(json_bytes(damage_json(json.loads(file.read_text()), rng), rng))
        elif kind == "pickle":
            _with_pickle(originals / name, file, hostile_pickle(folder / "canary", rng.choice([2, 4])), rng)
        else:
            file.write_bytes(damage_bytes(file.read_bytes(), rng))
        options = ["--num-heads", "4"] if hints[name] else []
        answer = server.run(["convert", name, "out", *options], folder)
        faults.watch(answer, folder, f"checkpoint-{index}-{kind}")
        if answer["code"] == 0 and kind not in ("config", "shard"):  # these have no checksum
            state = load_checkpoint(folder / "out").state_dict()
            if state.keys() != good[name].keys() or not all(torch.equal(state[key], good[name][key]) for key in state):
                faults.found.append(f"checkpoint-{index}-{kind}: loaded with other weights")
        if kind == "config" and answer["code"] == 0:
            for command in (
                ["classify", originals / "pictures" / "RGB.png"],
                ["inspect", originals / "pictures" / "RGB.png"],
            ):
                answer = server.run([*command, "--checkpoint", "native"], folder)
                faults.watch(answer, folder, f"checkpoint-{index}-{command[0]}")
    faults.end()


def _with_pickle(source: Path, target: Path, pickled: bytes, rng: random.Random) -> None:
    """The same archive with another pickle in it; or the bare pickle."""
    if rng.random() < 0.3:
        target.write_bytes(pickled)
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))


def test_folders(server, originals, faults, tmp_path, seed):
    rng = random.Random(seed + 2)
    for index in range(COUNT // 5):
        folder = scratch(tmp_path)
        shutil.copytree(originals / "pets", folder / "pets")
        for _ in range(rng.choice([1, 1, 2, 3])):
            damage_folder(folder / "pets", rng)
        if rng.random() < 0.2:
            shutil.make_archive(str(folder / "zipped"), "zip", folder / "pets") if _can_zip(folder / "pets") else None
        data = "zipped.zip" if (folder / "zipped.zip").exists() else "pets"
        if data == "zipped.zip" and rng.random() < 0.7:
            file = folder / data
            file.write_bytes(damage_bytes(file.read_bytes(), rng))
        answer = server.run(["evaluate", originals / "native", "--data", data, "--batch-size", "4"], folder)
        faults.watch(answer, folder, f"folder-{index}-evaluate")
        if data == "pets" and index % 4 == 0:
            answer = server.run(["classify", "pets", "--checkpoint", originals / "native"], folder)
            faults.watch(answer, folder, f"folder-{index}-classify")
    faults.end()


def _can_zip(folder: Path) -> bool:
    """Whether Python can pack the folder: regular files and folders with names in Unicode alone."""
    return all(
        (path.is_file() or path.is_dir()) and not path.is_symlink() and str(path).isprintable()
        for path in folder.rglob("*")
    )


def test_json_files(server, originals, faults, tmp_path, seed):
    rng = random.Random(seed + 3)
    coco = json.loads((originals / "coco" / "instances.json").read_text())
    boxes = json.loads((originals / "boxes.json").read_text())
    for index in range(COUNT // 5):
        folder = scratch(tmp_path)
        if rng.random() < 0.7:
            shutil.copytree(originals / "coco", folder / "coco")
            (folder / "coco" / "instances.json").write_bytes(json_bytes(damage_json(coco, rng), rng))
            arguments = ["--segmentation", "coco", "--maskcut-size", "0", "--size", "16"]
        else:
            (folder / "boxes.json").write_bytes(json_bytes(damage_json(boxes, rng), rng))
            arguments = ["--data", originals / "pets", "--boxes", "boxes.json", "--size", "16"]
        answer = server.run(["evaluate", originals / "native", *arguments, "--output", "out.json"], folder)
        faults.watch(answer, folder, f"json-{index}")
    faults.end()


@pytest.fixture(scope="module")
def run(server, originals, tmp_path_factory) -> dict[str, bytes]:
    """The files of an unfinished run: one that was stopped after its first saved state."""
    folder = tmp_path_factory.mktemp("run")
    answer = server.run([*_training(originals), "--steps", "2"], folder)
    assert answer["code"] == 0, answer
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _training(originals: Path) -> list[object]:
    return ["train", "--data", originals / "pets", "--output", "out", "--model", "crate_micro_patch4_32",
            "--img-size", "8", "--batch-size", "4", "--warmup-steps", "1", "--checkpoint-every", "1"]  # fmt: skip


def test_files_of_a_run(server, originals, faults, tmp_path, seed, run):
    rng = random.Random(seed + 4)
    written = sorted(name for name in run if name.startswith("out/") and not name.endswith("README.md"))
    for index in range(COUNT // 50):
        folder, name = scratch(tmp_path), rng.choice(written)
        for other, content in run.items():
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(content)
        damaged = damage_bytes(run[name], rng)
        if name.endswith(".json") and rng.random() < 0.7:
            damaged = json_bytes(damage_json(json.loads(run[name]), rng), rng)
        (folder / name).write_bytes(damaged)
        answer = server.run([*_training(originals), "--steps", "2"], folder)
        faults.watch(answer, folder, f"run-{index}-{Path(name).name}")
    faults.end()
