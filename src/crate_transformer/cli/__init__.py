"""The command ``crate``: one lazily imported file per command, so that ``--help`` is fast."""

import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "quickstart": "train a small CRATE and a ViT on this machine and show what each layer and head does",
    "models": "list the models, their sizes and the bundled weights",
    "train": "train a model on your own images, one sub-folder per class, or on text",
    "recipes": "list the papers' experiments: settings, cost, expected results",
    "check-data": "find broken, duplicate and leaking images before training",
    "evaluate": "evaluate a checkpoint on labelled images, or a language model on text",
    "probe": "evaluate frozen features with k nearest neighbours and a linear classifier",
    "classify": "predict the classes of images",
    "generate": "continue a text with a language model",
    "convert": "convert a checkpoint of any supported format to ours, or back to the official one",
    "export": "export a model to ONNX or torch.export",
    "bench": "measure speed and memory, compared with a reference implementation and ViTs",
    "inspect": "look inside: the objective in every layer, attention maps, masks, effects of heads",
    "explore": "look inside in a browser: a local server that takes your images",
    "segment": "segment objects without labels: masks, overlays, COCO results",
}


def usage() -> str:
    """What ``crate --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    more = "More: crate COMMAND --help. Terms: docs/glossary.md"
    return f"usage: crate COMMAND [OPTIONS]\n\nWhite-box vision transformers.\n\n{lines}\n\n{more}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see ``ending.exit_code``."""
    from crate_transformer.cli.ending import exit_code
    from crate_transformer.cli.terminal import terminal

    # before torch is imported: threads that wait in a busy loop halve the speed if another process is busy
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with terminal():
        return exit_code(lambda: run(arguments))


def run(arguments: Sequence[str]) -> int | None:
    """Run the command named by the first argument; returns its exit code, or ``None`` for success."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        from crate_transformer import __version__

        print(f"crate-transformer {__version__}")
        return 0
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}"
        raise ValueError(f"there is no command {name!r}; {hint}")
    if name != "train" and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(f"crate {name} runs in one process: start it without torchrun or accelerate launch")

    import tyro

    module = importlib.import_module(f"crate_transformer.cli.{name.replace('-', '_')}")
    settings = {"prog": f"crate {name}", "config": (tyro.conf.OmitArgPrefixes,)}
    command = module.Command
    if hasattr(module, "command"):
        command, settings["default"] = module.command(arguments[1:])
    return tyro.cli(command, args=arguments[1:], **settings)()
