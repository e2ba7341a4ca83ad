"""Language models from the command line."""

import json
import math

import numpy as np
import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data import open_text
from crate_transformer.models import build_language_model
from crate_transformer.recipes import tasks
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.tasks.next_token import NextToken

LINE = b"jackdaws love my sphinx\n"
TRAIN = ("train", "--task", "language", "--context-length", "16", "--batch-size", "8", "--precision", "float32")


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_bytes(LINE * 50)
    return tmp_path / "text.txt"


@pytest.fixture
def tiny(monkeypatch):
    """The smallest models of each kind under the names that are there."""
    from crate_transformer.models import registry

    for name in ("crate_lm_micro", "tost_lm_micro"):
        kind, config = registry.LANGUAGE_MODELS[name]
        small = type(config)(embed_dim=32, depth=2, num_heads=2, **({"layer_scale": 0.1} if "tost" in name else {}))
        monkeypatch.setitem(registry.LANGUAGE_MODELS, name, (kind, small))


def metadata(folder):
    return json.loads((folder / "config.json").read_text())["metadata"]


@pytest.mark.usefixtures("tiny", "unchecked")
@pytest.mark.parametrize("name", ["crate_lm_micro", "tost_lm_micro"])
def test_a_repeated_text_is_learnt_and_gone_on_with(crate, text, tmp_path, name):
    options = ("--model", name, "--steps", "150", "--warmup-steps", "5", "--learning-rate", "1e-2")
    command = (*TRAIN, "--data", text, "--output", tmp_path / "run", *options)
    ran = crate(*command)
    assert ran.code == 0, ran.err
    assert f"the last 0.1 of {text} held out: 1,080 training and 120 held-out tokens" in ran.out
    assert "150 steps of 8 windows" in ran.out and "windows/s" in ran.err and "image" not in ran.out + ran.err
    told = metadata(tmp_path / "run")
    numbers = told["metrics"]
    assert numbers["held_out_loss"] < 0.75 and numbers["held_out_tokens"] == 119  # a window's first letter tells little
    assert numbers["bits_per_byte"] == pytest.approx(numbers["held_out_loss"] / math.log(2), rel=1e-4)
    assert numbers["perplexity"] == pytest.approx(math.exp(numbers["held_out_loss"]), rel=1e-4)
    assert told["split"]["first"] == 1080 and told["split"]["divided_here"]
    assert numbers["training_windows"] == 68
    again = crate(*command)
    assert "already finished" in again.out and again.out.splitlines()[-1] == ran.out.splitlines()[-1]
    said = crate("generate", tmp_path / "run", "--prompt", "jackdaws", "--tokens", "16", "--temperature", "0")
    assert said.code == 0 and said.out == LINE.decode() + "\n"
    drawn = [
        crate("generate", tmp_path / "run", "--prompt", "a", "--seed", seed, "--temperature", "9").out for seed in "112"
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.usefixtures("tiny")
def test_what_is_measured_is_what_the_checkpoint_does(crate, text, tmp_path):
    """With the last window and the batches uneven, and none of the text left out or counted twice."""
    crate(*TRAIN, "--data", text, "--output", tmp_path / "run", "--steps", "2", "--context-length", "13")
    told, model = metadata(tmp_path / "run"), load_checkpoint(tmp_path / "run")
    held_out = open_text(text, NextToken_config(told)).val
    ids, total = torch.from_numpy(held_out.read(0, 120)), 0.0
    for start in range(0, 119, 13):
        piece = ids[start : start + 14]
        total += model.loss(piece[None, :-1], piece[None, 1:]).item() * (len(piece) - 1)
    assert told["metrics"]["held_out_loss"] == pytest.approx(total / 119, rel=1e-5)


@pytest.mark.usefixtures("tiny")
def test_evaluate_measures_what_training_held_out(crate, refused, text, tmp_path):
    run = tmp_path / "run"
    assert crate(*TRAIN, "--data", text, "--output", run, "--steps", "2", "--context-length", "13").code == 0
    told, output = metadata(run)["metrics"], tmp_path / "numbers.json"
    ran = crate("evaluate", run, "--data", text, "--output", output)
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    names = ("held_out_loss", "perplexity", "bits_per_byte", "held_out_tokens")
    assert {name: found[name] for name in names} == {name: told[name] for name in names}
    assert found["text_used"] == f"the last 120 of the 1,200 tokens of {text}, which training held out"
    stored = json.loads(output.read_text())
    assert found["warning"] is None and stored == found | {"settings": stored["settings"]}
    (tmp_path / "other.txt").write_bytes(b"sphinx of quartz")  # longer than the context by three
    ran = crate("evaluate", run, "--data", tmp_path / "other.txt")
    assert "this text is not known to have been held out" in ran.err
    assert json.loads(ran.out)["held_out_tokens"] == 15
    (tmp_path / "both").mkdir()
    for part in ("train", "val"):
        (tmp_path / f"both/{part}.txt").write_bytes(LINE * (2 if part == "val" else 20))
    assert crate(*TRAIN, "--data", tmp_path / "both", "--output", tmp_path / "parts", "--steps", "2").code == 0
    found = json.loads(crate("evaluate", tmp_path / "parts", "--data", tmp_path / "both").out)
    assert found["text_used"] == f"all 48 tokens of {tmp_path}/both/val.txt, which training held out"
    (tmp_path / "one.txt").write_bytes(b"a")
    assert refused("evaluate", run, "--data", tmp_path / "one.txt").endswith(
        "a single token: there is nothing to predict"
    )
    assert refused("evaluate", run, "--data", text, "--report", tmp_path / "report").endswith("--report out")
    told = refused(*TRAIN, "--data", text, "--output", tmp_path / "curves", "--steps", "2", "--layerwise")
    assert told == "layerwise measures vision models on images: leave it out for text"


def test_evaluate_a_language_model_that_does_not_tell_its_tokenizer(crate, refused, text, tmp_path):
    toy = build_language_model("crate_lm_base", vocab_size=300, context_length=4, embed_dim=8, depth=1, num_heads=2)
    save_checkpoint(toy, tmp_path / "toy")
    command = ("evaluate", tmp_path / "toy", "--data", text)
    assert refused(*command) == f"{tmp_path / 'toy'} does not contain its tokenizer: give it with --tokenizer"
    ran = crate(*command, "--tokenizer", "bytes")
    assert ran.code == 0 and "does not say which text it was trained on" in ran.err
    found = json.loads(ran.out)
    assert found["held_out_tokens"] == 1199 and found["bits_per_byte"] is None


def NextToken_config(told):  # noqa: N802
    from crate_transformer.configs.language import LanguageConfig

    return LanguageConfig(**told["experiment"]["task"])


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_run_goes_on_bit_for_bit(crate, text, tmp_path, monkeypatch):
    options = ("--steps", "8", "--checkpoint-every", "3", "--ema-decay", "0.9", "--accumulate", "2", "--save-memory")
    assert crate(*TRAIN, "--data", text, "--output", tmp_path / "whole", *options).code == 0

    class Stopped(NextToken):
        def forward(self, batch, progress):
            if progress.step == 5:
                raise OSError("the power is gone")
            return super().forward(batch, progress)

    command = (*TRAIN, "--data", text, "--output", tmp_path / "run", *options)
    with monkeypatch.context() as patched:
        patched.setitem(tasks._TASKS, tasks.LanguageConfig, Stopped)
        assert "the power is gone" in crate(*command).err
    assert (tmp_path / "run/state-00000003").is_dir()
    assert crate(*command).code == 0
    assert metadata(tmp_path / "run")["metrics"]["resumed_at"] == 3
    whole, resumed = (load_checkpoint(tmp_path / name).state_dict() for name in ("whole", "run"))
    assert all(torch.equal(whole[name], tensor) for name, tensor in resumed.items())


@pytest.mark.usefixtures("tiny")
def test_what_a_checkpoint_held_out_stays_held_out(crate, refused, text, tmp_path):
    assert crate(*TRAIN, "--data", text, "--output", tmp_path / "first", "--steps", "2", "--hold-out", "0.5").code == 0
    again = (*TRAIN, "--data", text, "--steps", "2", "--start-from", tmp_path / "first")
    ran = crate(*again, "--output", tmp_path / "more")
    assert ran.code == 0 and f"480 tokens held out by {tmp_path / 'first'} are not used for training" in ran.out
    assert metadata(tmp_path / "more")["metrics"]["training_windows"] == 38  # of 600 tokens
    ran = crate(*again, "--output", tmp_path / "wide", "--hold-out", "0.8")
    assert ran.code == 0
    assert metadata(tmp_path / "wide")["split"]["first"] == 600  # what lies before it was trained on at first
    assert metadata(tmp_path / "wide")["metrics"]["held_out_tokens"] == 599
    told = refused(*again, "--output", tmp_path / "long", "--context-length", "17")
    assert told == f"context_length is 17, but start_from {tmp_path / 'first'} has 16: give the same value"


@pytest.mark.usefixtures("tiny")
def test_token_arrays(crate, refused, tmp_path):
    ids = np.frombuffer(LINE * 50, np.uint8).astype("<u2") + 1000
    ids[:1000].tofile(tmp_path / "train.bin")
    ids[1000:].tofile(tmp_path / "val.bin")
    command = (*TRAIN, "--data", tmp_path, "--output", tmp_path / "run", "--steps", "2")
    assert "train.bin contains the token id 1121, but the vocabulary is 0 to 255" in refused(*command)
    ran = crate(*command, "--vocab-size", "1122")
    assert ran.code == 0 and "train.bin and val.bin" in ran.out and "bits" not in ran.out
    assert load_checkpoint(tmp_path / "run").config.vocab_size == 1122
    told = refused("generate", tmp_path / "run")
    assert told == f"{tmp_path / 'run'} does not contain its tokenizer: give it with --tokenizer"


def test_settings_for_images_are_refused_for_text(text):
    task = LanguageConfig(context_length=16)
    for wrong in ({"augment": AugmentConfig(flip=False)}, {"crop_pct": 0.9}):
        experiment = Experiment(model="crate_lm_micro", task=task, **wrong).fitted(8)
        with pytest.raises(ValueError, match="augment and crop_pct are for images: leave them out"):
            tasks.prepare(experiment, open_text(text, task), show=False)


def test_what_training_and_generating_refuse(refused, trained, text, tmp_path):
    run = (*TRAIN, "--output", tmp_path / "run", "--data")
    (tmp_path / "empty.txt").touch()
    assert refused(*run, tmp_path / "empty.txt") == f"{tmp_path / 'empty.txt'} is empty"
    assert refused(*run, tmp_path / "absent.txt") == f"{tmp_path / 'absent.txt'} does not exist"
    assert "give a longer text or a shorter context_length" in refused(*run, text, "--context-length", "2000")
    assert refused(*run, text, "--model", "gpt2").startswith(
        "there is no language model 'gpt2'; choose one of crate_lm_"
    )
    assert refused(*run, text, "--start-from", trained).endswith("is a vision model: give a language model")
    assert "leave them out" in refused(*run, text, "--scale", "2")
    assert refused(*run, text, "--layer-decay", "0.5").startswith("layer_decay is 0.5")
    assert refused("generate", trained) == f"{trained} is a vision model (CRATE): this command needs a language model"
    toy = build_language_model("crate_lm_base", vocab_size=256, context_length=4, embed_dim=8, depth=1, num_heads=2)
    save_checkpoint(toy, tmp_path / "toy")
    assert "does not contain its tokenizer" in refused("generate", tmp_path / "toy")
    generate = ("generate", tmp_path / "toy", "--tokenizer", "bytes")
    assert refused(*generate, "--prompt", "") == "--prompt is empty: give at least one character"
    toy = build_language_model("crate_lm_base", vocab_size=300, context_length=4, embed_dim=8, depth=1, num_heads=2)
    told = refused("generate", save_checkpoint(toy, tmp_path / "more"), "--tokenizer", "bytes")
    assert "has a vocabulary of 300 tokens, but the tokenizer bytes has 256: choose another --tokenizer" in told
    assert "temperature is -1.0" in refused(*generate, "--temperature", "-1")
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
