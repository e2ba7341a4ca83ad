"""Golden outputs of the official code."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file


class Golden:
    """Entries of ``golden/index.json`` with their tensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = {(e["family"], e["name"]): e for e in json.loads((folder / "index.json").read_text())["entries"]}

    def names(self, family: str) -> set[str]:
        return {name for kind, name in self.entries if kind == family}

    def config(self, family: str, name: str) -> dict:
        return self.entries[family, name]["config"]

    def entry(self, family: str, name: str) -> dict:
        return self.entries[family, name]

    def path(self, family: str, name: str, role: str = "checkpoint") -> Path:
        return self.folder / self.entries[family, name]["files"][role]

    def tensors(self, family: str, name: str, role: str = "tensors") -> dict:
        return load_file(self.path(family, name, role))

    def hints(self, family: str, name: str) -> dict:
        """What no tensor tells: only what differs from the defaults."""
        config = self.config(family, name)
        told = {"num_heads": config["heads"], "step_size": config["eta"], "sparsity_weight": config["lambd"]}
        told["global_pool"] = {"cls": "token", "mean": "avg"}[config["pool"]]
        for ours, theirs in (("img_size", "image_size"), ("patch_size", "patch_size")):
            if isinstance(config[theirs], list):
                told[ours] = tuple(config[theirs])
        defaults = {"step_size": 0.1, "sparsity_weight": 0.1, "global_pool": "token"}
        return {key: value for key, value in told.items() if defaults.get(key) != value}


@pytest.fixture(scope="session")
def golden(shared: Path) -> Golden:
    return Golden(shared / "golden")
