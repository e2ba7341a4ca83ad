"""Runs commands of ``crate`` in forked children: fast, since everything is imported, and safe, since each may die.

Reads one JSON object a line, ``{"arguments": [...], "folder": "...", "seconds": 10}``, and answers with one: exit code
(negative for a signal), the end of what was printed, seconds, and megabytes above what the child began with.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

SECONDS = 10
MEGABYTES = 2048


def run(arguments: list[str], folder: str, seconds: float = SECONDS) -> dict[str, object]:
    """One command in a child process, at most ``seconds`` long and ``MEGABYTES`` large."""
    output = Path(folder) / "output.txt"
    began = time.monotonic()
    child = os.fork()
    if not child:
        enter(folder, output)
        os._exit(command(arguments))
    while time.monotonic() - began < seconds:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.002)
    else:
        os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "text": output.read_text(encoding="utf-8", errors="replace")[-4000:],
        "seconds": time.monotonic() - began,
        "megabytes": (usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024,
    }


def enter(folder: str, output: Path) -> None:
    """Make the folder the child's own, and its output a file there."""
    os.setsid()
    os.chdir(folder)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", errors="backslashreplace") for n in (1, 2))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEGABYTES * 2**20, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def command(arguments: list[str]) -> int:
    """The exit code of a command, as a shell would see it."""
    import traceback

    from crate_transformer.cli import main

    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # a forked child must not wait for threads that it does not have
    import scipy.stats  # noqa: F401
    import torch._dynamo  # noqa: F401

    import crate_transformer.benchmarks.bench
    import crate_transformer.benchmarks.curves
    import crate_transformer.cli.bench
    import crate_transformer.cli.classify
    import crate_transformer.cli.convert
    import crate_transformer.cli.evaluate
    import crate_transformer.cli.evaluation_tables
    import crate_transformer.cli.export
    import crate_transformer.cli.inspect
    import crate_transformer.cli.segment
    import crate_transformer.cli.train
    import crate_transformer.evaluation
    import crate_transformer.integrations.export
    import crate_transformer.recipes.quickstart
    import crate_transformer.recipes.run
    import crate_transformer.reports.inspection  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
