"""How long it takes until a large set is ready to train on, and how much memory: python benchmarks/open_data.py FOLDER

Writes into FOLDER, unless it is there, about 4 GB: 200,000 files in 1,000 class folders, a zip file of 50,000 entries
in 100 classes, and 1,000 tar files of 1,000 samples (``key.jpg`` and ``key.cls``). Then opens each in fresh processes,
everything warm, and prints the best time of several and the memory above that of a process that has imported torch, at
the end and at its peak. The contents are no pictures: nothing decodes them.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

CONTENT = b"\xff\xd8" + bytes(398)
OPEN = """
import json, os, resource, sys, time
import torch
import psutil
process = psutil.Process()
before = process.memory_info().rss
from crate_transformer.data import open_images, open_split
began = time.perf_counter()
found = {"open_images": open_images, "open_split": open_split}[sys.argv[2]](sys.argv[1])
images = found if sys.argv[2] == "open_images" else found.train
count, classes, labels = len(images), len(images.classes), len(images.labels)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
rss = process.memory_info().rss
print(json.dumps([seconds, (rss - before) / 1e6, (peak - before) / 1e6, count, classes, labels]))
"""


def make_folder(path: Path) -> None:
    """200 files in each of 1,000 classes."""
    for kind in range(1000):
        (path / f"class{kind:04}").mkdir(parents=True)
        for number in range(200):
            (path / f"class{kind:04}" / f"picture{number:05}.jpg").write_bytes(CONTENT)


def make_zip(path: Path) -> None:
    """500 entries in each of 100 classes."""
    with zipfile.ZipFile(path, "w") as archive:
        for kind in range(100):
            for number in range(500):
                archive.writestr(f"data/class{kind:04}/picture{number:05}.jpg", CONTENT)


def make_shards(path: Path) -> None:
    """1,000 tar files of 1,000 samples in 1,000 classes."""
    path.mkdir()
    for shard in range(1000):
        with tarfile.open(path / f"set-{shard:06}.tar", "w") as archive:
            for number in range(1000):
                key = shard * 1000 + number
                for suffix, content in (("jpg", CONTENT), ("cls", str(key * 7919 % 1000).encode())):
                    member = tarfile.TarInfo(f"{key:09}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def main() -> None:
    """Make what is not there and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("files", make_folder), ("entries.zip", make_zip), ("shards", make_shards)):
        path = arguments.folder / name
        if not path.exists():
            make(path)
        for function in ("open_images", "open_split"):
            runs = []
            for repeat in range(arguments.repeats + 1):
                command = [sys.executable, "-c", OPEN, str(path), function]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(done.stderr, end="", file=sys.stderr)
                runs.append(json.loads(done.stdout))
                if not repeat:
                    print(f"{name}, {function}: first time {runs[0][0]:.2f} s, {runs[0][2]:.0f} MB at its peak")
            seconds, memory, peak = (min(run[column] for run in runs[1:]) for column in range(3))
            print(
                f"{name}, {function}: {runs[-1][3]:,} pictures in {runs[-1][4]:,} classes; "
                f"{seconds:.2f} s, {memory:.0f} MB, {peak:.0f} MB at its peak",
                flush=True,
            )


if __name__ == "__main__":
    main()
