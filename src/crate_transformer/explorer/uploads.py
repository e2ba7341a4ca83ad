"""What a browser sent, read with limits."""

import threading
from typing import IO

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crate_transformer.data import photograph, read_image

MOST_FILES = 16
LARGEST = 32 << 20
"""Bytes of a file."""
LARGEST_REQUEST = 128 << 20
SIDE = 512
"""Pixels of the shorter side that are kept of an upload: more than models take."""
PIXELS = 1 << 20
"""Of all that is kept of an upload; only pictures more than four times as long as wide would have more."""
_decoding = threading.Lock()


class TooLargeError(ValueError):
    """More was sent than is taken."""


class BodyLimit:
    """Lets reading the body of a request end with a ``TooLargeError`` where it is longer than ``most`` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self.most:
                raise TooLargeError(f"more than {self.most:,} bytes at a time: send less")
            return message

        await self.app(scope, counted, send)


async def read_form(request: Request) -> tuple[list[tuple[str, Image.Image]], list[str]]:
    """The pictures of a form, uploaded or sampled by name, and the names of the models that it chose.

    Raises:
        ValueError: there is no picture, one cannot be read, there are too many or too large ones, or it is no form.
    """
    try:
        async with request.form(max_files=MOST_FILES, max_fields=64, max_part_size=1 << 16) as form:
            files = [file for file in form.getlist("pictures") if isinstance(file, UploadFile)]
            pictures = [await _picture(file, file.filename) for file in files if file.filename]
            samples = [name for name in form.getlist("sample") if isinstance(name, str)]
            if len(pictures) + len(samples) > MOST_FILES:
                raise TooLargeError(f"more than {MOST_FILES} pictures at a time: send fewer")
            pictures += [(name, await run_in_threadpool(photograph, name)) for name in samples]
            models = [name for name in form.getlist("model") if isinstance(name, str)]
    except HTTPException as error:
        if "Too many files" in error.detail:
            raise TooLargeError(f"more than {MOST_FILES} pictures at a time: send fewer") from error
        raise ValueError(
            f"this is no form with pictures ({error.detail}): use the page that this server shows"
        ) from error
    if not pictures:
        raise ValueError("no picture was sent: choose at least one file, or a sample")
    return pictures, models


async def _picture(file: UploadFile, name: str) -> tuple[str, Image.Image]:
    if (file.size or 0) > LARGEST:
        raise TooLargeError(f"{name} has {file.size:,} bytes, more than {LARGEST:,}: make it smaller")
    return name, await run_in_threadpool(_small, file.file, name)


def _small(file: IO[bytes], name: str) -> Image.Image:
    """The picture, made smaller, since decoded uploads are kept while they wait; one at a time, which bounds memory."""

    def enough(width: int, height: int) -> tuple[float, float]:
        scale = max(1.0, min(width, height) / SIDE, (width * height / PIXELS) ** 0.5)
        return width / scale, height / scale

    with _decoding:
        picture = read_image(file.read(), name, at_least=enough)
    width, height = (max(1, round(side)) for side in enough(*picture.size))
    return picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.BICUBIC)
