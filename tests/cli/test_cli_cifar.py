"""CIFAR's own files, from the command line."""

import json

import numpy as np


def test_every_command_that_takes_labelled_pictures(crate, tmp_path):
    data, run, random = tmp_path / "cifar-10-batches-bin", tmp_path / "run", np.random.default_rng(0)
    data.mkdir()
    (data / "batches.meta.txt").write_text("airplane\nbird\n")
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        records = random.integers(0, 256, (8, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(8) % 2
        (data / f"{name}.bin").write_bytes(records.tobytes())
    small = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--steps", "2", "--warmup-steps", "1")
    trained = crate("train", "--data", data, "--output", run, *small)
    assert trained.code == 0 and "40 training and 8 held-out images, 2 classes" in trained.out, trained
    measured = crate("evaluate", run, "--data", data)
    assert measured.code == 0 and json.loads(measured.out)["count"] == 8, measured
    assert json.loads(measured.out)["warning"] is None
    probed = crate("probe", run, data, "--output", tmp_path / "probe")
    assert probed.code == 0, probed
    checked = crate("check-data", data)
    assert checked.code == 0 and "clean" in checked.out, checked
