"""``crate explore``."""

import socket
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import complain, say

_LOCAL = ("127.0.0.1", "localhost", "::1")
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that mean all interfaces, and the local address to open in a browser."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Look inside models in a browser: a local server takes images and shows what heads and layers do.

    Images are not sent anywhere else. Ctrl-C stops the server.
    """

    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional] = (Checkpoint().checkpoint,)
    """Folders, files, or names of bundled weights; a page shows one of them, or two side by side."""
    host: str = "127.0.0.1"
    """Address to listen on; an address other than the default lets other machines use the server."""
    port: int = 8750
    size: int | None = None
    """Shorter side of the images in pixels; default: the model's input size."""
    bits: Literal[8, 16] = 8
    """Precision of the numbers in the page."""

    def __call__(self) -> None:
        try:
            import uvicorn

            from crate_transformer.explorer.server import Server
        except ImportError as error:
            raise ImportError(f'crate explore needs {error.name}: pip install "crate-transformer[explore]"') from error
        from crate_transformer.explorer.explorer import Explorer

        if len(set(self.checkpoints)) < len(self.checkpoints):
            raise ValueError("a checkpoint is given twice: give each one once")
        if self.size is not None and self.size < 1:
            raise ValueError(f"--size is {self.size}: it must be at least one pixel")
        with self.bound_socket() as place:
            models = {name: Checkpoint(checkpoint=name).load() for name in self.checkpoints}
            explorer = Explorer(models, short_side=self.size, bits=self.bits)
            if self.host not in _LOCAL:
                where = "this machine" if self.host in _ALL else self.host
                complain(f"warning: anyone who can reach {where} over the network can use this server")
            port = place.getsockname()[1]
            hosts = {name for host in self.names() for name in named(host, port)}
            server = Server(explorer, hosts)
            say(f"open http://{named(_ALL.get(self.host, self.host), port)[0]}/ in a browser; Ctrl-C stops the server")
            config = uvicorn.Config(server.app, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
            try:
                uvicorn.Server(config).run(sockets=[place])
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the uploaded images are deleted") from None

    def names(self) -> set[str]:
        """Host names that a browser may use for this server: with 0.0.0.0 or ::, all addresses of this machine."""
        if self.host not in _ALL:
            return {*_LOCAL, self.host}
        import psutil

        found = {address.address.partition("%")[0] for some in psutil.net_if_addrs().values() for address in some}
        return {*_LOCAL, *found, socket.gethostname()}

    def bound_socket(self) -> socket.socket:
        """The bound socket, so that a port in use is reported before any model is loaded."""
        if not 0 <= self.port < 65_536:
            raise ValueError(f"--port is {self.port}: it must be between 1 and 65535, or 0 for any free port")
        where = f"{self.host}:{self.port}"
        try:
            return socket.create_server(
                (self.host, self.port), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET
            )
        except OSError as error:
            raise OSError(
                f"cannot listen on {where} ({error.strerror or error}): choose another --port or --host"
            ) from error


def named(host: str, port: int) -> list[str]:
    """``host:port`` as browsers write it, and also ``host`` alone for port 80."""
    shown = f"[{host}]" if ":" in host else host
    return [f"{shown}:{port}".lower(), *([shown.lower()] if port == 80 else [])]
