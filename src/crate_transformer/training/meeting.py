"""How the processes that share a run find each other."""

import atexit
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import distributed

ANSWER = 5.0
"""Seconds in which the main process answers once it listens."""
_TAKEN = "something else uses this port, choose another MASTER_PORT"
_NOTE = "crate-transformer"
_PLACE = ("RANK", "MASTER_ADDR", "MASTER_PORT")


def meet() -> PartialState:
    """Join the other processes, which the environment tells of; without an accelerator they exchange by gloo.

    Raises:
        ValueError: there are more processes than GPUs on this machine.
        OSError: they do not find each other.
    """
    count, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    on_cpu = accelerator is None or (count > 1 and accelerator.type == "mps")  # which gloo does not know
    on_cpu = on_cpu or parse_flag_from_env("ACCELERATE_USE_CPU")  # of accelerate launch --cpu
    if not on_cpu and local >= torch.accelerator.device_count():
        raise ValueError(
            f"process {local} of this machine finds {torch.accelerator.device_count()} GPUs: start one process for each"
        )
    alone = not distributed.is_initialized()
    try:
        _store = _find_main_process() if count > 1 and alone else None  # kept until PyTorch has its own
        state = PartialState(cpu=on_cpu)
    except RuntimeError as error:
        place = ":".join(os.environ.get(name, "") for name in _PLACE[1:])
        reason = str(error).partition("\n")[0]
        reason = _TAKEN if "EADDRINUSE" in reason else reason
        raise OSError(f"the {count} processes of this run do not meet at {place}: {reason}") from error
    if alone and distributed.is_initialized():
        atexit.register(distributed.destroy_process_group)
    return state


def _find_main_process() -> object:
    """Make sure that what listens at the place that the environment names is the main process of this run.

    PyTorch's own client waits for ever where something else listens there, such as another run. The launcher
    ``torchrun`` keeps a store of its own for its processes, which need no such care.

    Raises:
        RuntimeError: it is not; or it is this process, and cannot listen there.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or any(name not in os.environ for name in _PLACE):
        return None
    rank, host, port = (os.environ[name] for name in _PLACE)
    if rank == "0":
        return _greet(rank, host, int(port))
    _wait_for_listener(host, int(port))
    found: list = []

    def look() -> None:
        with suppress(RuntimeError):
            found.append(_greet(rank, host, int(port)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(2 * ANSWER)
    if not found:
        raise RuntimeError(_TAKEN)
    return found[0]


def _greet(rank: str, host: str, port: int) -> object:
    """The store of the main process, which leaves a note there, as each process does whose place is free."""
    seconds = timedelta(seconds=ANSWER)
    store = distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage] -- documented, but not in __all__
        host, port, is_master=rank == "0", timeout=seconds, wait_for_workers=False, multi_tenant=True
    )
    if rank == "0":
        store.set(_NOTE, "")
    store.wait([_NOTE], seconds)
    if store.add(f"{_NOTE} {rank}", 1) > 1:
        raise RuntimeError("a process of this rank is there already")
    return store


def _wait_for_listener(host: str, port: int) -> None:
    """Return when something listens; ``RuntimeError`` where nothing does for as long as PyTorch would wait."""
    deadline = time.monotonic() + distributed.default_pg_timeout.total_seconds()
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((host, port), ANSWER):
            return
        time.sleep(0.1)
    raise RuntimeError("nothing listens there")
