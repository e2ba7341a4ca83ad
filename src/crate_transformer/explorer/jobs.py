"""Pictures that wait for their page, one worker that makes it, and pages that are kept for a while."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image

Pictures = Sequence[tuple[str, Image.Image]]


@dataclass(frozen=True, eq=False)
class Job:
    """Named pictures, the names of the models to look into, and the page that is made of them."""

    pictures: Pictures
    models: tuple[str, ...]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    page: Future[bytes] = field(default_factory=Future)
    made: float = field(default_factory=time.monotonic)

    @property
    def error(self) -> str:
        """Why there is no page, in one sentence; empty while it is made and when it is done."""
        error = self.page.exception() if self.page.done() and not self.page.cancelled() else None
        if error is None:
            return ""
        told = " ".join(str(error).split())
        return (
            told
            if isinstance(error, ValueError | OSError)
            else f"a fault of the program: {type(error).__name__}: {told}"
        )

    @property
    def size(self) -> int:
        """Bytes of memory: the pixels of the pictures and the page, where there is one."""
        made = self.page.done() and not self.page.cancelled() and self.page.exception() is None
        return sum(3 * picture.width * picture.height for _, picture in self.pictures) + (
            len(self.page.result()) if made else 0
        )


class TooBusyError(RuntimeError):
    """Too many uploads are waiting."""


class Jobs:
    """``add`` lets ``make`` turn pictures and models into a page, one upload after the other, in another thread.

    Args:
        most_waiting: uploads that may wait before ``add`` refuses more.
        most_kept: pages that are kept; the oldest are forgotten first.
        most_bytes: of memory for what waits, and again for what is kept; the newest page is always kept.
        seconds: how long a page is kept at most.
    """

    def __init__(
        self,
        make: Callable[[Pictures, tuple[str, ...]], bytes],
        *,
        most_waiting: int = 64,
        most_kept: int = 32,
        most_bytes: int = 1 << 30,
        seconds: float = 3600.0,
    ) -> None:
        self._make, self._most_waiting, self._most_kept = make, most_waiting, most_kept
        self._most_bytes, self._seconds = most_bytes, seconds
        self._jobs: dict[str, Job] = {}
        self._lock, self._executor = threading.Lock(), ThreadPoolExecutor(1, "explorer")

    def add(self, pictures: Pictures, models: tuple[str, ...]) -> Job:
        """A new job at the end of the queue.

        Raises:
            TooBusyError: too many are waiting.
        """
        with self._lock:
            self._forget()
            waiting = [job for job in self._jobs.values() if not job.page.done()]
            if len(waiting) >= self._most_waiting or sum(job.size for job in waiting) > self._most_bytes:
                raise TooBusyError(f"{len(waiting)} uploads are waiting already: try again in a moment")
            job = Job(pictures, models, page=self._executor.submit(self._make, pictures, models))
            self._jobs[job.key] = job
        return job

    def get(self, key: str) -> Job | None:
        """The job of this key, unless it was forgotten."""
        with self._lock:
            self._forget()
            return self._jobs.get(key)

    def ahead(self, job: Job) -> int:
        """How many uploads come before this one."""
        with self._lock:
            before = list(self._jobs.values())
        return sum(not other.page.done() for other in before[: before.index(job)]) if job in before else 0

    def remove(self, key: str) -> None:
        """Forget an upload and its page, whether or not it was made."""
        with self._lock:
            if job := self._jobs.pop(key, None):
                job.page.cancel()

    def close(self) -> None:
        """Drop what waits, and wait for what is running."""
        self._executor.shutdown(cancel_futures=True)

    def _forget(self) -> None:
        newest_first = [job for job in reversed(self._jobs.values()) if job.page.done()]
        oldest, held = time.monotonic() - self._seconds, 0
        for number, job in enumerate(newest_first):
            held += job.size
            if number >= self._most_kept or job.made < oldest or (number and held > self._most_bytes):
                del self._jobs[job.key]
