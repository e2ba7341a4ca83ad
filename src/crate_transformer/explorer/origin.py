"""Only pages of this server may talk to it."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SameOrigin:
    """Refuses requests that name another host, as a page elsewhere can make a browser do by giving its own name the
    address of this machine (DNS rebinding), and what pages of other origins send; a link from anywhere may lead here.

    Args:
        hosts: host names with port, in lower case.
    """

    def __init__(self, app: ASGIApp, hosts: set[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_ours(Headers(scope=scope), scope["method"]):
            answer = PlainTextResponse("open this server by the address that it printed", status_code=403)
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_ours(self, headers: Headers, method: str) -> bool:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        followed = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        linked = followed and headers.get("sec-fetch-dest") == "document"  # in a tab of its own, not in a frame
        if host not in self.hosts or (headers.get("sec-fetch-site", "none") == "cross-site" and not linked):
            return False
        return (
            method in ("GET", "HEAD") or origin is None or origin.lower() in {f"http://{name}" for name in self.hosts}
        )
