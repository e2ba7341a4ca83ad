"""Exported models give the logits of PyTorch for any batch and picture size."""

import json
from dataclasses import replace

import pytest
import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.cli import main
from crate_transformer.integrations.export import check_export, export_program
from crate_transformer.layers import Int8Linear, quantise_linears
from crate_transformer.models import build_model

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]
TOY = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5}
NAMES = (
    "crate_tiny_patch16_224",
    "crate_alpha_tiny_patch16_224",
    "vit_tiny_patch16_224",
    "tost_tiny_patch16_224",
    "cbt_tiny_patch16_224",
    "hyper_set_512_recurrent_patch14_224",
)


def toy(name):
    torch.manual_seed(0)
    return build_model(name, **TOY).eval()


@pytest.mark.parametrize("name", [*NAMES[:4], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[4:])])
def test_a_program_takes_any_batch_height_and_width(name):
    model = toy(name)
    program = export_program(model).module()
    for size in [(1, 16, 16), (7, 24, 40), (2, 8, 64)]:
        images = torch.randn(size[0], 3, *size[1:])
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [NAMES[3], *(pytest.param(name, marks=pytest.mark.slow) for name in (NAMES[0], *NAMES[4:]))]
)
def test_onnx_from_the_shell(name, tmp_path, capfd):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = toy(name)
    save_checkpoint(model, tmp_path / "saved")
    file = tmp_path / "out" / "model.onnx"
    fold = "--fold" if name.startswith("tost") else "--no-fold"
    assert main(["export", str(file), "--checkpoint", str(tmp_path / "saved"), fold]) == 0
    assert [path.name for path in sorted(file.parent.iterdir())] == ["model.onnx", "model.onnx.json"]
    assert json.loads((tmp_path / "out" / "model.onnx.json").read_text())["preprocessing"]["img_size"] == [16, 16]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for size in [(1, 16, 16), (5, 20, 32)]:
        images = torch.randn(size[0], 3, *size[1:])
        with torch.no_grad():
            expected = model(images)
        logits = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    capfd.readouterr()


def test_eight_bits_are_smaller_and_close(tmp_path):
    model = toy("crate_tiny_patch16_224").fold()
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        before = model(images)
        quantise_linears(model, smallest=256)
        assert any(isinstance(module, Int8Linear) for module in model.modules())
        assert 0 < (model(images) - before).abs().max() < 0.05 * before.abs().max()
    program = export_program(model, dynamic=False)
    torch.export.save(program, tmp_path / "model.pt2")
    assert check_export(tmp_path / "model.pt2", model, dynamic=False) < 1e-5


def test_a_fixed_size_is_that_of_the_images(tmp_path):
    model = toy("crate_tiny_patch16_224")
    model.preprocessing = replace(model.preprocessing, img_size=(24, 32))  # position embeddings are resampled
    program = export_program(model, dynamic=False)
    (images,) = [node.meta["val"] for node in program.graph.nodes if node.name == "images"]
    assert images.shape[1:] == (3, 24, 32)
    torch.export.save(program, tmp_path / "model.pt2")
    assert check_export(tmp_path / "model.pt2", model, dynamic=False) < 1e-5


def test_a_wrong_file_is_noticed(tmp_path):
    torch.export.save(export_program(toy("crate_tiny_patch16_224"), dynamic=False), tmp_path / "model.pt2")
    other = toy("crate_tiny_patch16_224")
    with torch.no_grad():
        other.head.bias.add_(0.1)
    with pytest.raises(ValueError, match="differ"):
        check_export(tmp_path / "model.pt2", other, dynamic=False)
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match="ONNX Runtime cannot run the exported model"):
        check_export(b"no model", other)


def test_a_model_of_one_patch_is_told_what_to_do(tmp_path, capsys):
    save_checkpoint(build_model("crate_tiny_patch16_224", **TOY | {"img_size": 4}), tmp_path / "one")
    command = ["export", str(tmp_path / "one.pt2"), "--checkpoint", str(tmp_path / "one")]
    assert main(command) == 2
    assert "--no-dynamic" in capsys.readouterr().err
    assert main([*command, "--no-dynamic"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.pt2", "one.pt2.json"]


def test_another_ending_and_an_option_without_effect_are_refused(tmp_path, capsys):
    assert main(["export", str(tmp_path / "model.tflite")]) == 2
    assert main(["export", str(tmp_path / "model.pt2"), "--int8", "--no-fold"]) == 2
    told = capsys.readouterr().err
    assert "must end in .onnx or .pt2" in told and "--no-fold would be ignored" in told
