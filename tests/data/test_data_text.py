"""Texts as windows of tokens: files of every kind, what is held out, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data import (
    NO_TOKEN,
    open_evaluation_text,
    open_text,
    open_tokenizer,
    ordered_loader,
    train_loader,
    window,
)

TEXT = b"abcdefghijklmnopqrstuvwxyz" * 20
IDS = np.frombuffer(TEXT, np.uint8)


def config(**changes):
    return LanguageConfig(**{"context_length": 8} | changes)


def all_of(split):
    return np.concatenate([tokens.read(0, tokens.num_tokens) for tokens in (split.train, split.val)])


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT)
    return tmp_path / "text.txt"


def test_the_end_of_a_text_is_held_out(text):
    split = open_text(text, config(hold_out=0.25))
    assert (split.train.num_tokens, split.val.num_tokens) == (390, 130)
    assert np.array_equal(all_of(split), IDS) and split.divided_here


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i8"])
def test_every_kind_of_file_holds_the_same_text(text, tmp_path, kind):
    ids = IDS.astype(kind)
    np.save(tmp_path / "ids.npy", ids)
    save_file({"tokens": ids.astype(kind.replace(">", "<"))}, tmp_path / "ids.safetensors")
    IDS.astype("<u2").tofile(tmp_path / "ids.bin")
    for name in ("ids.npy", "ids.safetensors", "ids.bin"):
        split = open_text(tmp_path / name, config())
        assert np.array_equal(all_of(split), IDS), name
        assert np.array_equal(split.train.read(100, 109), IDS[100:109])
    assert np.array_equal(all_of(open_text(text, config())), IDS)


def test_files_of_a_folder_follow_each_other(tmp_path):
    for number, start in enumerate(range(0, 520, 130)):
        (tmp_path / f"{number}.txt").write_bytes(TEXT[start : start + 130])
    tokens = open_text(tmp_path, config(hold_out=0.5)).train
    assert tokens.num_tokens == 260
    for start in range(252):
        assert np.array_equal(tokens.read(start, start + 9), IDS[start : start + 9])
    assert len(tokens.read(258, 300)) == 2


def test_parts_on_the_disk_are_kept(tmp_path):
    IDS[:400].astype("<u2").tofile(tmp_path / "train.bin")
    IDS[400:].astype("<u2").tofile(tmp_path / "val.bin")
    split = open_text(tmp_path, config())
    assert (split.train.num_tokens, split.val.num_tokens) == (400, 120) and not split.divided_here
    assert np.array_equal(all_of(split), IDS)


def test_parts_of_several_files(tmp_path):
    for name in ("train/a", "train/b", "val/c", "test/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_bytes(TEXT)
    split = open_text(tmp_path, config())
    assert split.how == f"train and val of {tmp_path}; test is not used"
    assert (split.train.num_tokens, split.val.num_tokens) == (1040, 520)
    (tmp_path / "extra.txt").write_bytes(TEXT)
    for opened in (lambda: open_text(tmp_path, config()), lambda: open_evaluation_text(tmp_path, config())):
        with pytest.raises(
            ValueError, match=r"contains extra\.txt beside test and train and val: move one or the other"
        ):
            opened()
    (tmp_path / "extra.txt").rename(tmp_path / "train.txt")
    with pytest.raises(ValueError, match=r"of which train and train\.txt are for training: keep exactly one"):
        open_text(tmp_path, config())


@pytest.mark.parametrize("count", [9, 10, 16, 17, 18, 100])
def test_an_epoch_takes_one_window_of_every_stretch_and_all_are_as_likely(tmp_path, count):
    (tmp_path / "text.txt").write_bytes(bytes(range(1, count + 1)) + b"zz")
    tokens = open_text(tmp_path / "text.txt", config(hold_out=2 / (count + 2))).train
    assert tokens.num_tokens == count and len(tokens) == -(-(count - 1) // 8)
    places, drawn = count - 8, [[] for _ in range(len(tokens))]
    for seed in range(60 * places // len(tokens)):
        random = np.random.default_rng(seed)
        for index, starts in enumerate(drawn):
            found = window(tokens, index, random, (1, 9))["tokens"]
            assert torch.equal(found, torch.arange(9) + found[0])
            starts.append(int(found[0]) - 1)
    together = [set(starts) for starts in drawn]
    assert set.union(*together) == set(range(places)) and sum(map(len, together)) == places


@pytest.mark.parametrize("count", [2, 8, 9, 10, 17, 20])
def test_evaluation_predicts_every_token_once(tmp_path, count):
    (tmp_path / "train.txt").write_bytes(TEXT)
    (tmp_path / "val.txt").write_bytes(bytes(range(1, count + 1)))
    tokens = open_text(tmp_path, config()).val
    shares = [ordered_loader(tokens, window, size=(1, 9), batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    rows = torch.cat([batch["tokens"] for share in shares for batch in share])
    targets = rows[:, 1:][rows[:, 1:] != NO_TOKEN]
    assert sorted(targets.tolist()) == list(range(2, count + 1)) and rows.shape[1] == 9


def test_every_process_and_worker_reads_the_same_windows(text):
    tokens = open_text(text, config()).train

    def windows(**options):
        loader = train_loader(tokens, window, size=(1, 9), batch_size=4, steps=5, seed=3, **options)
        return torch.cat([batch["tokens"] for batch in loader])

    whole = windows()
    halves = [windows(rank=rank, world_size=2).view(5, 2, 9) for rank in (0, 1)]
    assert torch.equal(torch.cat(halves, dim=1).view(20, 9), whole)
    assert torch.equal(windows(num_workers=1), whole)
    assert torch.equal(windows(start_step=3), whole[12:]) and len(whole.unique(dim=0)) > 5


def test_the_fingerprint_follows_the_content(text, tmp_path):
    before = open_text(text, config()).train
    assert before.fingerprint() == open_text(text, config()).train.fingerprint()
    assert before.fingerprint() != open_text(text, config(context_length=9)).train.fingerprint()
    text.write_bytes(TEXT[:200] + b"!" + TEXT[201:])
    assert before.fingerprint() != open_text(text, config()).train.fingerprint()
    text.write_bytes(TEXT[:100])
    with pytest.raises(ValueError, match=r"text\.txt was truncated while it was read"):
        before.read(200, 209)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", r"a\.txt is empty"),
        ("a.txt", b"too short", r"a\.txt has 8 tokens to train on, but at least 9 are needed: give a longer text or a"),
        ("a.txt", b"exactly nine.", r"a\.txt has 1 tokens to hold out, but at least 2 are needed"),
        ("a.txt", b"PK\0\0" * 99, r"a\.txt is not a text: it contains zero bytes"),
        ("a.bin", b"", r"a\.bin is empty"),
        ("a.bin", b"odd", r"a\.bin has 3 bytes, so it is not an array of 16-bit integers"),
        ("a.bin", b"\0\1" * 99, r"a\.bin contains the token id 256, but the vocabulary is 0 to 255: give the"),
        ("a.npy", b"not one", r"a\.npy is not a readable array"),
        ("a.safetensors", b"\xff" * 64, r"a\.safetensors is not a readable array"),
    ],
)
def test_what_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        open_text(tmp_path / name, config())


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 50), np.uint16), r"ids\.npy contains uint16 of shape \[4, 50\]: give a one-dimensional array"),
        (np.zeros(99), r"ids\.npy contains float64 of shape \[99\]"),
        (np.array([0, -1] * 50), r"ids\.npy contains the token id -1, but the vocabulary is 0 to 255"),
        (np.array([print] * 50), r"ids\.npy is not a readable array: .*Python objects"),
        (np.zeros(0, np.uint16), r"ids\.npy is"),
    ],
)
def test_what_arrays_are_refused(tmp_path, array, sentence):
    np.save(tmp_path / "ids.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=sentence):
        open_text(tmp_path / "ids.npy", config())


def test_a_truncated_array_and_too_many_tensors_are_refused(tmp_path):
    np.save(tmp_path / "ids.npy", IDS)
    (tmp_path / "ids.npy").write_bytes((tmp_path / "ids.npy").read_bytes()[:-100])
    save_file({"a": IDS, "b": IDS}, tmp_path / "two.safetensors")
    for name, sentence in (("ids.npy", "is not a readable array"), ("two.safetensors", "2 tensors instead of one")):
        with pytest.raises(ValueError, match=sentence):
            open_text(tmp_path / name, config())


def test_what_folders_are_refused(tmp_path, text):
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        open_text(tmp_path / "absent", config())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty contains no text \(\.txt\) and no token ids"):
        open_text(tmp_path / "empty", config())
    IDS.astype("<u2").tofile(tmp_path / "ids.bin")
    with pytest.raises(ValueError, match=r"contains both text \(text\.txt\) and token ids \(ids\.bin\): choose"):
        open_text(tmp_path, config())


def test_bytes_are_any_text():
    tokenizer, text = open_tokenizer("bytes"), "Straße 漢字 🙂\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([65, 0xFF, 66]) == "A\N{REPLACEMENT CHARACTER}B"


@pytest.fixture
def cached_gpt2(tmp_path, monkeypatch):
    """A tokenizer of GPT-2's kind, learnt from a line, where Hugging Face's cache would have GPT-2's."""
    tokenizers = pytest.importorskip("tokenizers")
    learnt = tokenizers.Tokenizer(tokenizers.models.BPE())
    learnt.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    learnt.train_from_iterator(["the white box and the white transformer"], trainer)
    learnt.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "tokenizer.json"))


@pytest.mark.usefixtures("cached_gpt2")
def test_pieces_of_words(tmp_path):
    text = "the white box\nthe Straße and the 漢字 of the white transformer\n" * 5
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    split = open_text(tmp_path / "text.txt", config(tokenizer="gpt2"))
    ids = all_of(split)
    assert open_tokenizer("gpt2").decode(ids.tolist()) == text and len(ids) < 0.7 * len(text)
    assert split.val.sizes[ids].sum() == len(text.encode()) and len(split.val.sizes) == 50304
    for nothing in (b"", "\ufeff".encode()):
        (tmp_path / "text.txt").write_bytes(nothing)
        with pytest.raises(ValueError, match=r"text\.txt is empty$"):
            open_text(tmp_path / "text.txt", config(tokenizer="gpt2"))
    (tmp_path / "text.txt").write_bytes("Straße".encode("latin-1") * 50)
    with pytest.raises(ValueError, match=r"text\.txt is not UTF-8 text"):
        open_text(tmp_path / "text.txt", config(tokenizer="gpt2"))


def test_a_tokenizer_that_is_not_here(text, tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(OSError, match="the tokenizer gpt2 is not on this machine: download it once with 'hf download"):
        open_text(text, config(tokenizer="gpt2"))
    IDS.astype("<u2").tofile(tmp_path / "ids.bin")
    assert open_text(tmp_path / "ids.bin", config(tokenizer="gpt2")).val.sizes is None
