"""``crate explore``."""

import socket
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import complain, say

_LOCAL = ("127.0.0.1", "localhost", "::1")
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all of a machine, and what a browser on it calls them."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Look inside models in a browser: a server on this machine takes pictures and shows what heads and layers do.

    Nothing is sent anywhere else. Ctrl-C ends it.
    """

    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional] = (Checkpoint().checkpoint,)
    """Folders, files, or names of bundled weights; pages show one of them, or two side by side."""
    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own lets others use the server."""
    port: int = 8750
    size: int | None = None
    """Shorter side of the pictures in pixels; that of the model's inputs unless given."""
    bits: Literal[8, 16] = 8
    """Of a number on the page."""

    def __call__(self) -> None:
        try:
            import uvicorn

            from crate_transformer.explorer.server import Server
        except ImportError as error:
            raise ImportError(f'this takes {error.name}: pip install "crate-transformer[explore]"') from error
        from crate_transformer.explorer.explorer import Explorer

        if len(set(self.checkpoints)) < len(self.checkpoints):
            raise ValueError("a checkpoint is named twice")
        if self.size is not None and self.size < 1:
            raise ValueError(f"--size is {self.size}: it must be at least one pixel")
        with self.bound_socket() as place:
            models = {name: Checkpoint(checkpoint=name).load() for name in self.checkpoints}
            explorer = Explorer(models, short_side=self.size, bits=self.bits)
            if self.host not in _LOCAL:
                where = "this machine" if self.host in _ALL else self.host
                complain(f"anybody who reaches {where} over the network can use this server")
            port = place.getsockname()[1]
            hosts = {name for host in self.names() for name in named(host, port)}
            server = Server(explorer, hosts)
            say(f"open http://{named(_ALL.get(self.host, self.host), port)[0]}/ in a browser; Ctrl-C ends it")
            config = uvicorn.Config(server.app, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
            try:
                uvicorn.Server(config).run(sockets=[place])
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the pictures are forgotten") from None

    def names(self) -> set[str]:
        """What a browser may call this server: of an address that stands for all, every address of this machine."""
        if self.host not in _ALL:
            return {*_LOCAL, self.host}
        import psutil

        found = {address.address.partition("%")[0] for some in psutil.net_if_addrs().values() for address in some}
        return {*_LOCAL, *found, socket.gethostname()}

    def bound_socket(self) -> socket.socket:
        """The socket, so that a port in use is told before anything is loaded."""
        if not 0 <= self.port < 65_536:
            raise ValueError(f"--port is {self.port}: it must be from 0, for any, to 65535")
        where = f"{self.host}:{self.port}"
        try:
            return socket.create_server(
                (self.host, self.port), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET
            )
        except OSError as error:
            raise OSError(
                f"{where} cannot be listened on ({error.strerror or error}): choose another --port or --host"
            ) from error


def named(host: str, port: int) -> list[str]:
    """What a browser calls this port of the host: with the number, and without where it is HTTP's own."""
    shown = f"[{host}]" if ":" in host else host
    return [f"{shown}:{port}".lower(), *([shown.lower()] if port == 80 else [])]
