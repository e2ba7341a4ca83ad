"""The command ``crate``: one lazily imported file per command, so that help appears at once."""

import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "quickstart": "train a small CRATE and a ViT on this machine and show what each layer and head does",
    "models": "list the models, their sizes and the bundled weights",
    "train": "train a model on your own images, one sub-folder per class, or on text",
    "recipes": "list the experiments of the papers: settings, cost, expected numbers",
    "check-data": "find broken, double and leaking pictures before a run",
    "evaluate": "measure a checkpoint on labelled images, or a language model on a text",
    "probe": "measure what frozen features know: k nearest neighbours and a linear classifier",
    "classify": "name what is in pictures",
    "generate": "go on with a text, by a language model",
    "convert": "turn a checkpoint of any known kind into ours, or back into the official kind",
    "export": "write a model for other runtimes: ONNX or torch.export",
    "bench": "measure speed and memory beside a reference implementation and a ViT",
    "inspect": "look inside: what every layer does to the objective, where attention looks",
    "explore": "look inside in a browser: a small server on this machine takes your pictures",
    "segment": "mark the objects on pictures without any label: masks, overlays, COCO results",
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

    # before torch is imported: threads that wait in a loop halve the speed beside any other busy process
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with terminal():
        return exit_code(lambda: run(arguments))


def run(arguments: Sequence[str]) -> int | None:
    """Run the command that ``arguments`` begin with; its exit code, or nothing for success."""
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
        raise ValueError(f"crate {name} is the work of one process: start it without torchrun or accelerate launch")

    import tyro

    module = importlib.import_module(f"crate_transformer.cli.{name.replace('-', '_')}")
    settings = {"prog": f"crate {name}", "config": (tyro.conf.OmitArgPrefixes,)}
    command = module.Command
    if hasattr(module, "command"):
        command, settings["default"] = module.command(arguments[1:])
    return tyro.cli(command, args=arguments[1:], **settings)()
