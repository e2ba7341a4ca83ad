"""A small local server: pictures that are dropped in a browser become the page."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from crate_transformer.data import PHOTOGRAPHS
from crate_transformer.explorer.explorer import Explorer
from crate_transformer.explorer.jobs import Job, Jobs, Pictures, TooBusyError
from crate_transformer.explorer.origin import SameOrigin
from crate_transformer.explorer.uploads import (
    LARGEST,
    LARGEST_REQUEST,
    MOST_FILES,
    BodyLimit,
    TooLargeError,
    read_form,
)
from crate_transformer.storage import as_record, parse_json, plain, printable

_TEMPLATES = Environment(
    loader=PackageLoader("crate_transformer", "explorer"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_LARGEST_QUESTION = 1 << 16
_STATUS = ((TooLargeError, 413), (TooBusyError, 503), ((ValueError, OSError), 400))

Handler = Callable[..., Awaitable[Response]]


def told(handler: Handler) -> Handler:
    """The handler with what is wrong with a request answered in one sentence."""

    @wraps(handler)
    async def inner(server: "Server", request: Request) -> Response:
        try:
            return await handler(server, request)
        except (ValueError, OSError, TooBusyError) as error:
            status = next(number for kinds, number in _STATUS if isinstance(error, kinds))
            return failed(request, "That did not work", str(error), status)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads

    return inner


def failed(request: Request, title: str, text: str, status: int) -> Response:
    """One sentence: as JSON where JSON was sent, else as a page."""
    sentence = " ".join(printable(text).split())
    if request.headers.get("content-type", "").startswith("application/json"):
        return JSONResponse({"error": sentence}, status)
    return message(title, sentence, status)


def message(title: str, text: str, status: int = 200, *, again: bool = False) -> Response:
    """A page with one sentence; ``again`` loads it anew every second."""
    return _rendered("message.html.j2", status, title=title, text=text, again=again)


def _rendered(template: str, status: int = 200, **shown: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    inline = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
    policy = f"default-src 'none'; img-src data:; {inline}; form-action 'self'"
    content = _TEMPLATES.get_template(template).render(nonce=nonce, **shown)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return HTMLResponse(content, status, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a page asks: the prediction of a picture by a model without these heads and atoms."""

    token: str
    picture: int
    model: int
    off: list[tuple[int, int]]
    atoms: list[tuple[int, list[int]]]


class Server:
    """The application; ``hosts`` are the names, with port, by which a browser may call it."""

    def __init__(self, explorer: Explorer, hosts: set[str], **limits: Any) -> None:
        self.explorer, self.token = explorer, secrets.token_urlsafe(16)
        self.jobs = Jobs(self._make, **limits)
        forms, questions = ([Middleware(BodyLimit, most=most)] for most in (LARGEST_REQUEST, _LARGEST_QUESTION))
        routes = [
            Route("/", self.start),
            Route("/pictures", self.upload, methods=["POST"], middleware=forms),
            Route("/view/{key}/", self.view),
            Route("/view/{key}/delete", self.delete, methods=["POST"]),
            Route("/view/{key}/effects", self.effects, methods=["POST"], middleware=questions),
        ]
        self.app = Starlette(
            routes=routes,
            lifespan=self._running,
            middleware=[Middleware(SameOrigin, hosts=hosts)],
            exception_handlers={HTTPException: _not_found},
        )

    @asynccontextmanager
    async def _running(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        self.jobs.close()

    def _make(self, pictures: Pictures, models: tuple[str, ...]) -> bytes:
        return self.explorer.page(pictures, models, {"url": ".", "token": self.token})

    async def start(self, request: Request) -> Response:
        """Where pictures are chosen."""
        shown = {
            "models": list(self.explorer.models),
            "samples": list(PHOTOGRAPHS),
            "most_files": MOST_FILES,
            "largest": LARGEST >> 20,
            "largest_request": LARGEST_REQUEST >> 20,
        }
        return _rendered("start.html.j2", **shown)

    @told
    async def upload(self, request: Request) -> Response:
        """Pictures that become a page."""
        pictures, models = await read_form(request)
        models = tuple(dict.fromkeys(models)) or tuple(self.explorer.models)[:1]
        for name in models:
            self.explorer.model(name)
        if len(models) > 2:
            raise ValueError("choose one model, or two to be compared")
        job = self.jobs.add(pictures, models)
        return RedirectResponse(f"/view/{job.key}/", status_code=303)

    async def view(self, request: Request) -> Response:
        """The page, or how far it is."""
        job = self._job(request)
        if job.error:
            return message("That did not work", job.error, 400)
        if not job.page.done():
            ahead = self.jobs.ahead(job)
            before = "1 upload comes" if ahead == 1 else f"{ahead} uploads come"
            turn = f"{before} before them." if ahead else "The model is looking at them."
            return message("Your pictures have arrived", f"{turn} The result appears here by itself.", again=True)
        return HTMLResponse(job.page.result(), headers={"Cache-Control": "no-store"})

    @told
    async def delete(self, request: Request) -> Response:
        """Forget pictures and page."""
        self.jobs.remove(self._job(request).key)
        return JSONResponse({"deleted": True})

    @told
    async def effects(self, request: Request) -> Response:
        """What switching heads and atoms off does to a prediction."""
        job, where = self._job(request), "the question"
        question = as_record(parse_json(await request.body(), where), Question, where)
        if not secrets.compare_digest(question.token.encode(), self.token.encode()):
            raise HTTPException(403, "this page belongs to an earlier start of the server: load it again")
        if not (0 <= question.picture < len(job.pictures) and 0 <= question.model < len(job.models)):
            raise ValueError(f"there is no picture {question.picture} or no model {question.model} on this page")
        found = await run_in_threadpool(
            self.explorer.effects,
            job.models[question.model],
            job.pictures[question.picture][1],
            question.off,
            dict(question.atoms),
        )
        return JSONResponse(plain(found))

    def _job(self, request: Request) -> Job:
        job = self.jobs.get(request.path_params["key"])
        if job is None:
            raise HTTPException(404, "these pictures are not here any more: send them again")
        return job


async def _not_found(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return failed(request, "That is not here", str(error.detail), error.status_code)
