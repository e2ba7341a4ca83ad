"""To the hub and back, against a server on this machine that speaks as much of the hub's protocol as is needed."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

from crate_transformer.checkpoints import create_model, from_pretrained, load_checkpoint, push_to_hub
from crate_transformer.models import LANGUAGE_MODELS, build_language_model

REPO = "someone/some-crate"


class Hub(BaseHTTPRequestHandler):
    """One folder of files per repository in the server's ``repositories``; the commit is a hash of them."""

    def log_message(self, *args):
        pass

    def answer(self, content, status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.append(self.headers.get("Authorization"))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[1] == "validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.server.refuses:
            return self.answer({"error": "You may not write here"}, 403)
        if parts[1:] == ["repos", "create"]:
            wanted = json.loads(sent)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = wanted.get("visibility") == "private" or wanted.get("private")
            return self.answer({"url": f"{self.server.address}/{name}"})
        files = self.server.repositories["/".join(parts[2:4])]
        if parts[4] == "preupload":
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(sent)["files"]
            ]
            return self.answer({"files": modes})
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = self.commit(files)
        return self.answer({"commitUrl": f"{self.server.address}/{REPO}/commit/{commit}", "commitOid": commit})

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        files = self.server.repositories.get("/".join(parts[2:4] if api else parts[:2]))
        if files is None:
            return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        commit = self.commit(files)
        if api and parts[4] == "revision":
            return self.answer({"id": "/".join(parts[2:4]), "sha": commit, "siblings": []})
        if api:
            return self.answer([{"type": "file", "path": p, "size": len(c), "oid": p} for p, c in files.items()])
        return self.answer(files[parts[4]], ETag=f'"{hash(files[parts[4]])}"', X_Repo_Commit=commit)

    do_HEAD = do_GET  # noqa: N815

    def commit(self, files):
        return hashlib.sha1(b"".join(files.values())).hexdigest()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repositories, server.private, server.tokens, server.refuses = {}, {}, [], False
    server.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model():
    model = create_model("crate_micro_patch4_32", num_classes=3).eval()
    model.class_names = ("cat", "dog", "bird")
    return model


def test_there_and_back(hub, model, tmp_path):
    numbers = {"accuracy": 0.875, "attention": {"auc": 0.81, "mean mask | prior": 0.74}, "license": "mit"}
    address = push_to_hub(model, REPO, metadata=numbers, private=True, token="hf_secret")
    assert address.startswith(f"{hub.address}/{REPO}/commit/")
    assert hub.private == {REPO: True}
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert set(hub.repositories[REPO]) == {"model.safetensors", "config.json", "README.md"}
    images = torch.randn(2, 3, 32, 32)
    for loaded in (load_checkpoint(REPO), from_pretrained(REPO, cache_dir=tmp_path / "other", revision="main")):
        assert loaded.class_names == model.class_names
        assert loaded.provenance.metadata == numbers
        assert loaded.provenance.source == f"the hub: {REPO} at {address.rpartition('/')[2]}"
        with torch.no_grad():
            assert torch.equal(loaded(images), model(images))


def test_the_card_carries_numbers_and_provenance(hub, model):
    push_to_hub(model, REPO, metadata={"accuracy": 0.875, "attention": {"mean mask | prior": 0.74}, "license": "mit"})
    text = hub.repositories[REPO]["README.md"].decode()
    card = huggingface_hub.ModelCard(text)
    assert card.data.to_dict() == {
        "library_name": "crate-transformer",
        "tags": ["white-box", "crate"],
        "pipeline_tag": "image-classification",
        "license": "mit",
    }
    parameters = sum(p.numel() for p in model.parameters())
    for words in (
        f"# {REPO}",
        f"{parameters:,} parameters",
        f'ct.load_checkpoint("{REPO}")',
        "| accuracy | 0.875 |",
        r"| attention / mean mask \| prior | 0.74 |",
        "| embed_dim | 128 |",
        "| mean | (0.485, 0.456, 0.406) |",
        "CRATE from crate_micro_patch4_32 (fresh initialisation)",
    ):
        assert words in text


def test_the_numbers_of_loaded_weights_go_on(hub, model):
    push_to_hub(model, REPO, metadata={"accuracy": 0.5}, dtype=torch.bfloat16)
    loaded = load_checkpoint(REPO)
    push_to_hub(loaded, "someone/copy")
    assert load_checkpoint("someone/copy").provenance.metadata == {"accuracy": 0.5}
    assert f"CRATE from the hub: {REPO}" in hub.repositories["someone/copy"]["README.md"].decode()
    push_to_hub(loaded, "someone/copy", model_card="my own words", metadata={})
    assert hub.repositories["someone/copy"]["README.md"] == b"my own words"


def test_a_language_model(hub):
    name, (_, config) = next(iter(LANGUAGE_MODELS.items()))
    model = build_language_model(name, depth=1, embed_dim=2 * config.num_heads, vocab_size=11, context_length=8).eval()
    push_to_hub(model, REPO)
    assert type(load_checkpoint(REPO)) is type(model)


@pytest.mark.parametrize("name", ["model", "a/b/c", "owner/na me", ""])
def test_what_is_no_hub_id(model, name):
    with pytest.raises(ValueError, match="is not a hub id: give owner/name"):
        push_to_hub(model, name)


def test_a_hub_that_refuses(hub, model):
    hub.refuses = True
    with pytest.raises(OSError, match=f"{REPO} could not be uploaded to the Hugging Face hub: .*may not write here"):
        push_to_hub(model, REPO)


def test_a_hub_out_of_reach(model, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=f"{REPO} could not be uploaded to the Hugging Face hub: .*refused"):
        push_to_hub(model, REPO)


def test_nothing_of_that_name(hub):
    with pytest.raises(FileNotFoundError, match=r"someone/else is not a local path .*RepositoryNotFoundError"):
        load_checkpoint("someone/else")


def test_a_repository_of_something_else(hub):
    hub.repositories[REPO] = {"README.md": b"nothing here"}
    with pytest.raises(ValueError, match=r"is not a checkpoint: it has no config\.json"):
        load_checkpoint(REPO)
