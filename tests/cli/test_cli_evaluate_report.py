"""``crate evaluate --report`` and ``--real``."""

import json
import tarfile

import pytest
from PIL import Image

OFFICIAL = "ILSVRC2012_val_{:08d}.png"


@pytest.mark.figures
def test_numbers_by_class_and_figures(crate, refused, trained, pets, tmp_path):
    ran = crate("evaluate", trained, "--data", pets, "--report", tmp_path / "report")
    assert ran.code == 0, ran.err
    printed = json.loads(ran.out)
    found = json.loads((tmp_path / "report" / "details.json").read_text())
    assert found["classes"] == ["cat", "dog"] and [entry["count"] for entry in found["by_class"]] == [6, 6]
    assert sum(images for *_, images in found["confusion"]) == found["count"] == sum(found["calibration"]["images"])
    hits = sum(images for label, guess, images in found["confusion"] if label == guess)
    assert hits / 12 == pytest.approx(printed["top1"], rel=1e-5)
    assert 0 <= printed["calibration_error"] <= 1 and len(printed["largest_confusions"]) <= 2
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / "report" / name) as figure:
            assert min(figure.size) > 300
    again = ("evaluate", trained, "--data", pets, "--report", tmp_path / "report")
    assert crate(*again).code == 0
    (pets / "cat" / "0.png").unlink()
    assert "different settings (images)" in refused(*again)


def test_real_labels(crate, refused, trained, pets, tmp_path):
    for number, file in enumerate(sorted(pets.rglob("*.png")), start=1):
        file.rename(file.with_name(OFFICIAL.format(number)))
    (pets / "cat" / OFFICIAL.format(1)).write_bytes(b"unreadable")
    real = [[0]] * 6 + [[0, 1]] * 5 + [[]]  # the cats; dogs with a cat beside them; one that nobody could name
    (tmp_path / "real.json").write_text(json.dumps(real))
    ran = crate("evaluate", trained, "--data", pets, "--real", tmp_path / "real.json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["count"] == 11 and found["real"]["count"] == 10 and found["real"]["left_out"] == 1
    assert found["real"]["top1"] >= 0.5  # whatever is called a dog with a cat, it is right
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(pets, "pets")
    in_tar = crate("evaluate", trained, "--data", tmp_path / "pets.tar", "--real", tmp_path / "real.json")
    assert json.loads(in_tar.out)["real"] == found["real"]
    (tmp_path / "real.json").write_text(json.dumps([[1]] * 6 + [[0]] * 6))
    told = refused("evaluate", trained, "--data", pets, "--real", tmp_path / "real.json")
    assert "0 of 11 images have their own class among their ReaL labels" in told
    (pets / "cat" / OFFICIAL.format(2)).rename(pets / "cat" / "mine.png")
    assert "no ReaL labels for cat/mine.png" in refused(
        "evaluate", trained, "--data", pets, "--real", tmp_path / "real.json"
    )
    assert "does not exist" in refused("evaluate", trained, "--data", pets, "--real", tmp_path / "none.json")
