"""Every golden checkpoint survives the way through this package's format and back into the official one."""

import json
import subprocess
import sys

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint, save_official
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.cli import main
from crate_transformer.models import build_model

ROUND_TRIPS = {
    "crate/crate_cls.pth.tar": {"num_heads": 4},
    "crate/crate_mean.pth.tar": {"num_heads": 3, "global_pool": "avg"},
    "crate/crate_identity.pth.tar": {},
    "crate/crate_rectpatch_gray.pth.tar": {"num_heads": 2, "img_size": (24, 32), "patch_size": (8, 4)},
    "crate-mae/mae_lambda0.5-checkpoint-799.pth": {"num_heads": 4},
    "crate-alpha/alpha_base.pth": {"num_heads": 4},
    "tost-vision/tost_p16_checkpoint.pth": {"img_size": 64},
    "tost-vision/tost_p8_checkpoint.pth": {"img_size": 40},
    "tost-language/tost_lang_ckpt.pt": {},
    "tost-language/tost_lang_bias_ckpt.pt": {},
}
IDLE = {"pos_embed", "decoder_embed.weight", "decoder_embed.bias"}  # of CRATE-MAE: stored, never applied


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_there_and_back_is_the_same_bit_for_bit(name, shared, tmp_path):
    official, hints = shared / "golden" / name, ROUND_TRIPS[name]
    model = load_checkpoint(official, **hints)
    folder = save_checkpoint(model, tmp_path / "ours")
    save_official(load_checkpoint(folder), tmp_path / "back.pth")
    before, after = read_tensors(official)[0], read_tensors(tmp_path / "back.pth")[0]
    assert set(before) == set(after)
    for key in set(before) - (IDLE if "mae" in name else set()):
        assert torch.equal(before[key], after[key]), key
    again = load_checkpoint(tmp_path / "back.pth", **hints)
    assert again.config == model.config
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_convert_from_the_shell(shared, tmp_path, capsys):
    official = shared / "golden" / "crate-alpha" / "alpha_base.pth"
    assert main(["convert", str(official), str(tmp_path / "ours"), "--num-heads", "4"]) == 0
    assert "CRATEAlpha" in capsys.readouterr().out
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["metadata"]["converted_from"] == str(official)
    assert "assumed" in (tmp_path / "ours" / "README.md").read_text()
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "back.pth"), "--to", "official"]) == 0
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "ours"), "--to", "official"]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_sizes_that_no_tensor_tells_are_given_in_the_shell(shared, tmp_path, capsys):
    official = shared / "golden" / "crate" / "crate_rect.pth.tar"
    command = ["convert", str(official), str(tmp_path / "ours"), "--num-heads", "6"]
    assert main([*command]) == 2
    assert "--img-size" in capsys.readouterr().err
    assert main([*command, "--img-size", "32", "48"]) == 0


def test_what_has_no_official_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ViT has no official format; there are formats for .*CRATE, CRATEMAE"):
        save_official(build_model("vit_micro_patch4_32"), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match="cannot store the tensor 'reg_token'"):
        save_official(build_model("crate_micro_patch4_32", reg_tokens=2), tmp_path / "crate.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of Linux")
def test_converting_needs_little_more_memory_than_two_copies(tmp_path):
    model = build_model("crate_small_patch16_224", embed_dim=768)  # about 90 MB
    save_official(model, tmp_path / "large.pth.tar")
    size = (tmp_path / "large.pth.tar").stat().st_size
    script = (
        "import resource, sys, torch, safetensors.torch, crate_transformer.checkpoints\n"
        "from crate_transformer.cli import main\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "assert main(['convert', sys.argv[1], sys.argv[2], '--num-heads', '12']) == 0\n"
        "print(peak() - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "large.pth.tar"), str(tmp_path / "ours")]
    extra = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert extra < 2.5 * size
