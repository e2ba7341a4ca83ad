"""Teachers from everywhere give the same answers, and those that do not fit are refused in a sentence."""

import dataclasses
import hashlib
import json

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.data import imagenet_words
from crate_transformer.integrations.export import export_onnx, export_program
from crate_transformer.models import build_model
from crate_transformer.recipes.teachers import columns_of, imagenet_names, load_teacher

NAMES = ("cat", "dog", "owl")


@pytest.fixture
def model():
    found = build_model("crate_micro_patch4_32", num_classes=3, img_size=16, depth=2, embed_dim=16).eval()
    found.class_names = NAMES
    found.preprocessing = dataclasses.replace(found.preprocessing, img_size=(16, 16), mean=(0.5, 0.5, 0.5))
    return found


@pytest.fixture
def pixels():
    return torch.rand(5, 3, 16, 16)


def expected(model, pixels):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.preprocessing.mean, model.preprocessing.std))
    with torch.no_grad():
        return model((pixels - mean) / std)[:, [2, 0]]


def test_a_checkpoint(model, pixels, tmp_path):
    save_checkpoint(model, tmp_path / "teacher")
    teacher = load_teacher(str(tmp_path / "teacher"), ("owl", "cat"))
    torch.testing.assert_close(teacher(pixels), expected(model, pixels))
    again = load_teacher(str(tmp_path / "teacher"), ("owl", "cat"))
    assert again.digest == teacher.digest
    with torch.no_grad():
        model.head.bias[0] += 1e-3
    save_checkpoint(model, tmp_path / "other")
    assert load_teacher(str(tmp_path / "other"), ("owl", "cat")).digest != teacher.digest
    bundled = load_teacher("crate_mini_patch8_64", load_checkpoint("crate_mini_patch8_64").class_names)
    assert bundled(pixels).shape == (5, 100)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_onnx_file(model, pixels, tmp_path):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "teacher.onnx"
    export_onnx(export_program(model, dynamic=False), file)
    with pytest.raises(ValueError, match=r"the teacher .*teacher\.onnx has 3 classes without names"):
        load_teacher(str(file), ("cat",))
    told = {"class_names": NAMES, "preprocessing": dataclasses.asdict(model.preprocessing)}
    (tmp_path / "teacher.onnx.json").write_text(json.dumps(told))
    teacher = load_teacher(str(file), ("owl", "cat"))
    torch.testing.assert_close(teacher(pixels), expected(model, pixels), rtol=1e-4, atol=1e-5)
    assert teacher.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "teacher.onnx.json").write_text(json.dumps(told | {"exclusive_classes": False}))
    with pytest.raises(ValueError, match="is a multi-label model"):
        load_teacher(str(file), ("cat",))
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be read as an ONNX model"):
        load_teacher(str(tmp_path / "broken.onnx"), ("cat",))


def test_a_folder_of_transformers(model, pixels, tmp_path):
    pytest.importorskip("transformers")
    from crate_transformer.integrations.transformers import to_transformers
    from crate_transformer.integrations.transformers_pictures import CrateImageProcessor

    to_transformers(model).save_pretrained(tmp_path / "hf")
    CrateImageProcessor.of(model.preprocessing).save_pretrained(tmp_path / "hf")
    teacher = load_teacher(f"hf:{tmp_path / 'hf'}", ("owl", "cat"))
    assert teacher.preprocessing.img_size == (16, 16) and teacher.preprocessing.mean == (0.5, 0.5, 0.5)
    torch.testing.assert_close(teacher(pixels), expected(model, pixels))
    file = tmp_path / "hf" / "preprocessor_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "do_normalize": False}))
    plain = load_teacher(f"hf:{tmp_path / 'hf'}", ("owl", "cat")).preprocessing
    assert (plain.mean, plain.std) == ((0.0,) * 3, (1.0,) * 3)
    for wrong in ({"do_flip_channel_order": True}, {"rescale_factor": 1 / 127.5}, {"do_rescale": False}):
        file.write_text(json.dumps({**told, **wrong}))
        with pytest.raises(ValueError, match=r"^the image processor of hf:.*: (pixels|the channels) must be"):
            load_teacher(f"hf:{tmp_path / 'hf'}", ("owl", "cat"))
    with pytest.raises(OSError, match=r"transformers cannot load the teacher hf:.*nothing: "):
        load_teacher(f"hf:{tmp_path / 'nothing'}", ("cat",))


def test_models_of_several_classes_a_picture(model, tmp_path):
    model.exclusive_classes = False
    save_checkpoint(model, tmp_path / "ours")
    pytest.importorskip("transformers")
    from crate_transformer.integrations.transformers import from_transformers, to_transformers
    from crate_transformer.integrations.transformers_pictures import CrateImageProcessor

    theirs = to_transformers(model)
    assert not from_transformers(theirs).exclusive_classes
    theirs.save_pretrained(tmp_path / "theirs")
    CrateImageProcessor.of(model.preprocessing).save_pretrained(tmp_path / "theirs")
    for name in (str(tmp_path / "ours"), f"hf:{tmp_path / 'theirs'}"):
        with pytest.raises(ValueError, match="is a multi-label model"):
            load_teacher(name, ("cat",))


def test_a_thousand_unnamed_classes_are_those_of_imagenet(tmp_path):
    model = build_model("crate_micro_patch4_32", img_size=16, depth=1, embed_dim=16)
    save_checkpoint(model, tmp_path / "teacher")
    words = list(imagenet_words().values())
    teacher = load_teacher(str(tmp_path / "teacher"), (words[7], words[3]))
    assert teacher.columns == (7, 3)
    names = imagenet_names(imagenet_words())
    assert len(set(names)) == 1000 and names[0] == words[0]
    with pytest.raises(ValueError, match="the classes of the teacher are not ImageNet's"):
        imagenet_names(["n01440764", "n99999999"])


def test_classes_that_the_teacher_does_not_know(model, tmp_path):
    save_checkpoint(model, tmp_path / "teacher")
    where = f"the data for the teacher {tmp_path / 'teacher'}"
    with pytest.raises(ValueError) as error:
        load_teacher(str(tmp_path / "teacher"), ("cat", "horse", "cow"))
    assert str(error.value) == f"{where} has unknown classes: cow, horse"
    model.reset_classifier(0)
    save_checkpoint(model, tmp_path / "encoder")
    with pytest.raises(ValueError, match="encoder has no classes: give an image classifier"):
        load_teacher(str(tmp_path / "encoder"), ("cat",))
    with pytest.raises(FileNotFoundError, match="nothing is not a file, folder"):
        load_teacher(str(tmp_path / "nothing"), ("cat",))


def test_lists_with_and_without_synonyms_fit_each_other():
    known = ("tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane")
    assert columns_of(("goldfish", "tench"), known, "here") == (1, 0)
    assert columns_of(("goldfish, gold fish",), ("tench", "goldfish"), "here") == (1,)
    with pytest.raises(ValueError, match="here has unknown classes: crane, bird"):
        columns_of(("tench", "crane, bird"), known, "here")
