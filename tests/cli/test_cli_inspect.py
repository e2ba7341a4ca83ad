"""``crate inspect``, and the options that it shares with ``crate classify``."""

import json
import re

import pytest
import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.checkpoints.official_crate import RENAMED, RENAMED_IN_LAYER
from crate_transformer.models import build_model


@pytest.fixture
def plain(tmp_path):
    """A checkpoint that names no layer and head of its own."""
    return save_checkpoint(
        build_model("crate_micro_patch4_32", img_size=16, depth=3, num_heads=2, num_classes=2), tmp_path / "plain"
    )


@pytest.mark.parametrize(("layers", "last"), [(("--layers", "-1", "0"), 2), (("--layers", "1", "0"), 1)])
def test_the_mask_comes_from_the_last_layer_shown(crate, plain, picture, tmp_path, layers, last):
    ran = crate("inspect", picture, "--checkpoint", plain, "--output", tmp_path / "out", *layers)
    assert ran.code == 0, ran.err
    mask = json.loads((tmp_path / "out" / "results.json").read_text())["mask"]
    assert mask["layer"] == last and mask["chosen"].startswith("the last layer")


@pytest.mark.figures
def test_every_section_stands_on_the_page_and_beside_it(crate, plain, pets, tmp_path):
    ran = crate(
        "inspect",
        *sorted((pets / "cat").iterdir())[:2],
        "--checkpoint",
        plain,
        "--output",
        tmp_path / "out",
        "--layers",
        "1",
        "0",
    )
    assert ran.code == 0, ran.err
    page, found = (
        (tmp_path / "out" / "report.html").read_text(),
        json.loads((tmp_path / "out/results.json").read_text()),
    )
    for name in ("layerwise", "steps", "subspaces", "gram", "maskcut", "pca", "heads"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    assert "Not on this page" not in page and "The consistency of a head is the mean cosine similarity" in page
    assert "Objects found by MaskCut from the features of layer 2, at 32 x 32 pixels" in page
    assert found["head_semantics"]["layer"] == 1 and found["maskcut"]["layer"] == found["feature_pca"]["layer"] == 2
    assert len(found["steps"]["untrained"]["compressing"]) == len(found["subspaces"]["trained"]["within"]) == 3
    assert len(found["maskcut"]["statuses"]) == len(found["feature_pca"]["foreground_fractions"]) == 2


@pytest.mark.parametrize(
    ("family", "gone", "why"),
    [
        ("tost_tiny_patch16_224", {"head_semantics", "mask"}, "ToST has no softmax attention"),
        ("vit_micro_patch4_32", {"subspaces"}, "ViT has no subspaces and dictionaries"),
        ("crate_alpha_mini_patch8_64", set(), ""),
        ("hyper_set_512_patch14_224", set(), "Attention lowers its energy in 0% of all pairs"),
    ],
)
def test_a_family_lacks_what_it_has_not(crate, refused, pets, tmp_path, family, gone, why):
    model = build_model(family, img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2, num_classes=2)
    folder = save_checkpoint(model, tmp_path / "model")
    ran = crate("inspect", *sorted((pets / "cat").iterdir())[:2], "--checkpoint", folder, "--output", tmp_path / "out")
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (
        found["steps"]["trained"]["compressing"]
        and {name for name in ("subspaces", "head_semantics", "mask") if found[name] is None} == gone
    )
    assert why in (tmp_path / "out" / "report.html").read_text() and len(found["missing"]) == (len(gone) + 1) // 2
    assert (found["energies"] is not None) == (family == "hyper_set_512_patch14_224")
    if "mask" in gone:
        assert "no softmax attention" in refused("inspect", pets, "--checkpoint", folder, "--layers", "0")


def test_a_model_without_class_token(crate, refused, picture, tmp_path):
    shape = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2, "num_classes": 2}
    model = build_model("hyper_set_512_patch14_224", **shape, class_token=False, global_pool="avg")
    options = ("inspect", picture, "--checkpoint", save_checkpoint(model, tmp_path / "model"))
    said = refused(*options, "--output", tmp_path / "out", "--heads", "1")
    assert "this HyperSET has no class token: leave out --layers and --heads" in said


def test_checkpoints_are_compared_on_the_same_pictures(crate, refused, plain, picture, tmp_path):
    other = save_checkpoint(build_model("crate_micro_patch4_32", depth=2, num_classes=2), tmp_path / "other")
    options = ("inspect", picture, "--checkpoint", plain, "--output", tmp_path / "out", "--compare")
    ran = crate(*options, other)
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(found["compared"][str(other)]["subspace_rate"][0]) == 2 and len(found["subspace_rate"][0]) == 3
    assert found["head_semantics"] is None and found["missing"] == [
        "only one image: no comparison of heads across images"
    ]
    assert "all different" in refused(*options, plain)


def test_a_model_without_a_classifier(crate, picture, tmp_path):
    folder = save_checkpoint(build_model("crate_micro_patch4_32", depth=1, num_classes=0), tmp_path / "headless")
    ran = crate("inspect", picture, "--checkpoint", folder, "--output", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert '"top":[]' in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "results.json").read_text())["pictures"][0]["top"] == []


def test_one_broken_picture_does_not_stop_a_folder(crate, plain, pets, tmp_path):
    broken = pets / "cat" / "2.png"
    broken.write_text("no picture")
    ran = crate("inspect", pets / "cat", "--checkpoint", plain, "--output", tmp_path / "out")
    assert ran.code == 0 and "\n5 images inspected" in ran.out
    assert f"skipped: {broken} is not a readable image" in ran.err
    assert str(broken) in json.loads((tmp_path / "out" / "results.json").read_text())["left_out"]
    ran = crate("classify", pets / "cat", "--checkpoint", plain, "--json")
    assert ran.code == 0 and len(json.loads(ran.out)) == 5
    assert ran.err.count(str(broken)) == 1 and ran.err.endswith("1 of 6 images were skipped\n")


def test_the_interactive_part(crate, refused, plain, pets, tmp_path):
    other = save_checkpoint(build_model("vit_micro_patch4_32", depth=1, num_classes=2), tmp_path / "other")
    options = ("inspect", pets, "--checkpoint", plain, "--output", tmp_path / "out", "--shown", "3")
    ran = crate(*options, "--beside", other, "--bits", "16", "--effects", "never")
    assert ran.code == 0 and "the page will be about" in ran.out, ran
    data = json.loads(re.search(r'id="data">(.*?)</script>', (tmp_path / "out" / "report.html").read_text())[1])
    assert [model["name"] for model in data["models"]] == [str(plain), str(other)]
    assert [model["bits"] for model in data["models"]] == [16, 16] and len(data["pictures"]) == 3
    assert data["pictures"][0]["views"][0]["effects"] is None
    names = [picture["name"] for picture in data["pictures"]]
    assert len(set(names)) == 3 and not any(str(tmp_path) in name or name.startswith("/") for name in names)
    assert refused(*options, "--beside", plain).startswith(f"--beside {plain} is the inspected checkpoint itself")
    assert refused(*options[:-1], "0") == "--shown is 0: it must be at least 1"


def test_no_pictures_is_one_sentence(refused, plain, picture):
    picture.write_text("no picture")
    for command in ("inspect", "classify"):
        assert refused(command, "--checkpoint", plain) == "give at least one image or folder of images"
        assert refused(command, picture, "--checkpoint", plain).startswith(f"{picture} is not a readable image")
        assert refused(command, plain, "--checkpoint", plain).endswith(".gif)")


@pytest.mark.parametrize("command", ["classify", "inspect"])
def test_hints_for_an_official_checkpoint(crate, refused, picture, tmp_path, command):
    state = build_model("crate_micro_patch4_32", img_size=16, embed_dim=24, depth=1, num_heads=2).state_dict()
    names = RENAMED | {key.format(l=0): own.format(l=0) for key, own in RENAMED_IN_LAYER.items()}
    torch.save({official: state[own] for official, own in names.items()}, tmp_path / "odd.pth")
    out = ("--output", tmp_path / "out") if command == "inspect" else ()
    told = refused(command, picture, "--checkpoint", tmp_path / "odd.pth", *out)
    assert "--num-heads" in told
    ran = crate(command, picture, "--checkpoint", tmp_path / "odd.pth", "--num-heads", "2", "--img-size", "16", *out)
    assert ran.code == 0, ran.err
    told = refused(command, picture, "--checkpoint", tmp_path / "odd.pth", "--num-heads", "2", "--img-size", "20", *out)
    assert "--img-size 20 does not give the 16 patches" in told
