"""``crate probe``: tables, results, which pictures are used, and what is refused."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.data import open_images
from crate_transformer.models import build_language_model, build_model
from crate_transformer.recipes.held_out import HeldOut
from crate_transformer.recipes.probe_pictures import first_of_each_class, probe_pictures


@pytest.fixture
def coloured(tmp_path):
    """Three classes that anybody tells apart: noise around one colour each, divided into train and val."""

    def write(part: str, count: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        for channel, kind in enumerate(("red", "green", "blue")):
            folder = tmp_path / "colours" / part / kind
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 100, (16, 16, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / f"{part}-{index}.png")

    write("train", 6, 0)
    write("val", 4, 1)
    return tmp_path / "colours"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    model = build_model("crate_micro_patch4_32", img_size=16, patch_size=8, depth=2, num_classes=0)
    return save_checkpoint(model, tmp_path_factory.mktemp("probe") / "weights")


def test_tables_and_results(crate, coloured, weights, tmp_path):
    ran = crate("probe", weights, coloured, "--output", tmp_path / "out", "--k", 5, 100)
    assert ran.code == 0, ran.err
    assert "k = 18" in ran.out and "most frequent class" in ran.out and "33.3%" in ran.out
    assert "does not say which images it was trained on" in ran.err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["knn"]["rows"]["pixels"]["5"]["top1"] == 1.0
    assert found["linear_probe"]["rows"]["pixels"]["top1"] == 1.0
    assert found["linear_probe"]["rows"]["model"]["count"] == 12
    assert found["linear_probe"]["split"].startswith("the penalty was chosen on 3 of the 18 images")
    assert found["widths"]["pixels"] == 768
    assert json.loads((tmp_path / "out" / "crate_run.json").read_text())["command"] == "probe"


def test_the_cache_gives_the_same_numbers(crate, coloured, weights, tmp_path):
    options = ("probe", weights, coloured, "--cache", tmp_path / "cache", "--layers", 2, "--tokens", "both")
    results = []
    for name in ("first", "second"):
        assert crate(*options, "--output", tmp_path / name).code == 0
        results.append((tmp_path / name / "results.json").read_bytes())
    assert results[0] == results[1] and len(list((tmp_path / "cache").iterdir())) == 1
    Image.new("RGB", (16, 16)).save(coloured / "train" / "red" / "another.png")
    assert crate(*options, "--output", tmp_path / "third").code == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_other_results_are_kept(crate, refused, coloured, weights, tmp_path):
    options = ("probe", weights, coloured, "--method", "knn", "--output", tmp_path / "out")
    assert crate(*options).code == 0 and crate(*options).code == 0
    assert "made with different settings (k)" in refused(*options, "--k", 3)
    assert crate(*options, "--k", 3, "--overwrite").code == 0


def test_the_pictures_that_training_held_out_are_measured(crate, trained, tmp_path):
    """One tenth of the folder was held out; the others are learned from, whatever else would be."""
    ran = crate("probe", trained, trained.parent / "pets", "--method", "knn", "--output", tmp_path / "out")
    assert ran.code == 0 and ran.err.count("may") == 0, ran.err
    assert "fitted on 10 images" in ran.out and "which training held out" in ran.out


def test_a_held_out_picture_is_never_learned_from(pets):
    images = open_images(pets)
    keys = images.keys()
    held_out = HeldOut(how="", divided_here=True, held_out=[keys[2], keys[8]])
    found = probe_pictures(pets, held_out)
    assert sorted(found.reported.keys()) == sorted([keys[2], keys[8]]) and not found.warnings
    assert not set(found.reported.keys()) & set(found.reference.keys())


def test_a_folder_of_held_out_pictures_is_divided_as_any_other(pets):
    found = probe_pictures(pets, HeldOut(how="", divided_here=False, held_out=open_images(pets).keys()))
    assert (len(found.reference), len(found.reported)) == (10, 2) and not found.warnings


def test_pictures_to_measure_on_are_left_out_of_the_reference(pets, make_pictures, caplog):
    other = make_pictures("more", cat=7, dog=7)  # those of pets and one more of each
    found = probe_pictures(pets, None, reference=other)
    assert len(found.reported) == 12 and len(found.reference) == 2
    told = "12 images to fit on were skipped because they are among those to evaluate on"
    assert any(told in warning for warning in found.warnings)
    with pytest.raises(ValueError, match=r"all images of .* are among those to evaluate on"):
        probe_pictures(pets, None, reference=pets)


def test_a_limit_takes_the_same_pictures_everywhere(pets, tmp_path):
    images = open_images(pets)
    few = first_of_each_class(images, 2)
    assert few.labels == [0, 0, 1, 1]
    keys = few.keys()
    pets.rename(tmp_path / "moved")
    assert first_of_each_class(open_images(tmp_path / "moved"), 2).keys() == keys


def test_bad_input_is_one_sentence(refused, pets, coloured, weights, tmp_path):
    assert "does not exist" in refused("probe", weights, tmp_path / "nowhere")
    assert "images per class to fit on is 0" in refused("probe", weights, pets, "--limit", 0)
    assert "--k is (0,)" in refused("probe", weights, pets, "--k", 0)
    assert "--k would be ignored" in refused("probe", weights, pets, "--k", 5, "--method", "linear")
    assert "layers is 3, but the model has" in refused("probe", weights, pets, "--layers", 3)
    assert "unknown classes: cat, dog" in refused("probe", weights, pets, "--reference", coloured)
    assert "use k-NN instead" in refused("probe", weights, pets, "--limit", 1, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert "file" in refused("probe", weights, pets, "--cache", tmp_path / "file", "--output", tmp_path / "out")
    lines = build_language_model("crate_lm_base", depth=1, embed_dim=16, num_heads=2)
    save_checkpoint(lines, tmp_path / "text")
    assert "is a language model" in refused("probe", tmp_path / "text", pets)


def test_images_with_several_classes_are_refused(refused, coloured, weights, tmp_path, draw):
    several = tmp_path / "several"
    names = [draw(several / f"{number}.png").name for number in range(4)]
    (several / "labels.csv").write_text("file,red,blue\n" + "".join(f"{name},1,1\n" for name in names))
    told = f"a probe needs one class per image, which {several} does not have"
    assert refused("probe", weights, several) == told
    assert refused("probe", weights, coloured, "--reference", several) == told
    assert refused("probe", weights, several, "--reference", coloured) == told


def test_an_unreadable_picture_is_left_out(crate, coloured, weights, tmp_path, caplog):
    (coloured / "train" / "red" / "train-0.png").write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        ran = crate("probe", weights, coloured, "--method", "knn", "--output", tmp_path / "out")
    assert ran.code == 0 and "train-0.png" in ran.err
    assert json.loads((tmp_path / "out" / "results.json").read_text())["knn"]["num_reference"] == 17
