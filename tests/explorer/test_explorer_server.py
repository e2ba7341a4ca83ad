"""The server: uploads become pages, faults become sentences, and nobody else is answered."""

import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("multipart")

from starlette.testclient import TestClient

from crate_transformer.explorer.explorer import Explorer
from crate_transformer.explorer.jobs import Jobs, TooBusyError
from crate_transformer.explorer.server import Server
from crate_transformer.explorer.uploads import LARGEST_REQUEST, MOST_FILES
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 4}
HOST = "127.0.0.1:8750"


@pytest.fixture(scope="module")
def explorer():
    names = {"ours": "crate_tiny_patch16_224", "theirs": "vit_tiny_patch16_224"}
    return Explorer({name: build_model(kind, **TINY).eval() for name, kind in names.items()}, short_side=16)


@pytest.fixture
def server(explorer):
    return Server(explorer, {HOST, "localhost:8750"})


@pytest.fixture
def client(server):
    with TestClient(server.app, base_url=f"http://{HOST}", follow_redirects=False) as client:
        yield client


def picture(name="cat.png", size=(20, 16), mode="RGB"):
    content = io.BytesIO()
    if mode == "RGB":
        shown = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    else:
        shown = Image.new(mode, size[::-1])
    shown.save(content, "PNG")
    return ("pictures", (name, content.getvalue(), "image/png"))


def uploaded(client, server, *pictures, **data):
    sent = client.post("/pictures", files=list(pictures), data=data)
    assert sent.status_code == 303, sent.text
    place = sent.headers["location"]
    server.jobs.get(place.split("/")[2]).page.exception(timeout=60)
    return place


def test_an_upload_becomes_a_page_that_can_ask_and_be_deleted(client, server):
    assert "Drop pictures here" in client.get("/").text
    place = uploaded(client, server, picture(), picture("<script>.png"))
    shown = client.get(place)
    assert shown.status_code == 200 and "<script>.png" not in shown.text and "connect-src" in shown.text
    question = {"token": server.token, "picture": 1, "model": 0, "off": [[0, 1], [1, 0]], "atoms": [[1, [0, 3]]]}
    found = client.post(f"{place}effects", json=question).json()
    assert len(found["classes"]) == 4 and found["zero"] != found["intact"] != found["mean"]
    deleted = client.post(f"{place}delete")
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": True})
    gone = client.get(place)
    assert gone.status_code == 404 and "these pictures are not here any more" in gone.text


def test_samples_and_two_models(client, server):
    place = uploaded(client, server, sample="cat", model=["ours", "theirs"])
    assert '"compares":"pair"' in client.get(place).text


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        ({"files": []}, 400, "no picture was sent"),
        ({"files": [("pictures", ("a.png", b"", "image/png"))]}, 400, "a.png is not a readable image"),
        ({"files": [("pictures", ("a.png", b"%PDF-1.7 ...", "image/png"))]}, 400, "not a JPEG, PNG"),
        ({"files": [("pictures", ("a.svg", b"<svg><script>alert(1)</script></svg>", "image/svg+xml"))]}, 400, "a.svg"),
        ({"files": [("pictures", ("a.heic", b"\0\0\0\x18ftypheic" + bytes(64), "image/heic"))]}, 400, "a.heic"),
        ({"files": [picture()] * (MOST_FILES + 1)}, 413, f"more than {MOST_FILES} pictures at a time"),
        ({"data": {"sample": ["cat"] * (MOST_FILES + 1)}}, 413, f"more than {MOST_FILES} pictures at a time"),
        ({"data": {"sample": "no such"}}, 400, "there is no photograph"),
        ({"files": [picture()], "data": {"model": "no such"}}, 400, "there is no model"),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "no "),
    ],
)
def test_bad_uploads_are_one_sentence(client, sent, status, told):
    answer = client.post("/pictures", **sent)
    assert answer.status_code == status and told in answer.text and "Traceback" not in answer.text, answer.text


def test_a_picture_of_too_many_pixels_is_one_sentence(client):
    answer = client.post("/pictures", files=[picture("huge.png", mode="1", size=(15_000, 20_000))])
    assert answer.status_code == 400 and "huge.png is not a readable image" in answer.text, answer.text


def test_bodies_have_a_limit(client, server):
    question = client.post("/view/none/effects", content=bytes(1 << 17), headers={"content-type": "application/json"})
    assert question.status_code == 404, "nothing is read for a page that is not there"
    place = uploaded(client, server, picture())
    question = client.post(f"{place}effects", content=bytes(1 << 17), headers={"content-type": "application/json"})
    assert (question.status_code, question.json()) == (413, {"error": "more than 65,536 bytes at a time: send less"})
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/pictures", content=bytes(LARGEST_REQUEST + 1), headers=form)
    assert answer.status_code == 413 and "more than 134,217,728 bytes at a time: send less" in answer.text


def test_an_upload_that_is_broken_off_is_no_fault(server):
    told = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        told.append(message)

    headers = [(b"host", HOST.encode()), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/pictures", "query_string": b"", "headers": headers}
    asyncio.run(server.app(scope, receive, send))
    assert told[0]["status"] == 400


def test_a_page_that_would_be_too_large(client, server, monkeypatch):
    monkeypatch.setattr("crate_transformer.explorer.explorer.LARGEST_PAGE", 10)
    answer = client.get(uploaded(client, server, picture()))
    assert answer.status_code == 400 and "choose fewer pictures, or start crate explore with a" in answer.text


def test_uploads_are_kept_small(client, server):
    place = uploaded(client, server, picture("wide.png", size=(600, 8000)), picture("square.png", size=(600, 700)))
    kept = [shown.size for _, shown in server.jobs.get(place.split("/")[2]).pictures]
    assert kept[1] == (597, 512) and kept[0][0] * kept[0][1] == pytest.approx(1 << 20, rel=0.01)


def test_a_picture_that_is_too_long_fails_on_its_page(client, server):
    place = uploaded(client, server, picture("long.png", size=(400, 4)))
    answer = client.get(place)
    assert answer.status_code == 400 and "times as long as wide" in answer.text


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ({"picture": 5}, 400), ({"off": [[9, 0]]}, 400), ({"off": [[0, "x"]]}, 400), ({"token": "other"}, 403),
        ({"off": "x"}, 400), ({"model": 1}, 400), ({"token": "\u043a\u043b\u044e\u0447"}, 403),
    ],
)  # fmt: skip
def test_bad_questions(client, server, question, status):
    place = uploaded(client, server, picture())
    whole = {"token": server.token, "picture": 0, "model": 0, "off": [], "atoms": []}
    answer = client.post(f"{place}effects", json=whole | question)
    assert answer.status_code == status and "Traceback" not in answer.json()["error"]
    assert client.post(f"{place}effects", content=b"[" * 9999).status_code == 400


def test_only_its_own_pages_are_answered(client, server):
    assert client.get("/", headers={"host": "evil.example:8750"}).status_code == 403
    assert client.get("/", headers={"host": "127.0.0.1:80"}).status_code == 403
    assert client.post("/pictures", headers={"origin": "http://evil.example"}, files=[picture()]).status_code == 403
    assert client.post("/pictures", headers={"origin": "null"}, files=[picture()]).status_code == 403
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert client.get("/", headers=elsewhere).status_code == 403
    link = elsewhere | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200, "a link in a mail leads here"
    assert client.get("/", headers=link | {"sec-fetch-dest": "iframe"}).status_code == 403
    assert client.post("/pictures", headers=link, files=[picture()]).status_code == 403
    ours = client.post("/pictures", headers={"origin": f"http://{HOST}"}, files=[picture()])
    assert ours.status_code == 303
    for path in ("/../pyproject.toml", "/view/../../etc/passwd", "/static/x", "/view/x/y", "/%2e%2e/%2e%2e/etc/passwd"):
        assert client.get(path).status_code == 404


def test_a_model_that_is_chosen_twice_is_shown_once(client, server):
    place = uploaded(client, server, picture(), model=["theirs", "theirs"])
    assert client.get(place).text.count('"family":') == 1


def test_the_queue_and_what_is_kept_are_bounded():
    start = threading.Event()

    def make(pictures, models):
        start.wait(30)
        if models == ("bad",):
            raise ValueError("cannot be done")
        return b"page"

    jobs = Jobs(make, most_waiting=2, most_kept=2, seconds=1e9)
    first, second = jobs.add([], ("a",)), jobs.add([], ("bad",))
    assert (jobs.ahead(first), jobs.ahead(second)) == (0, 1)
    with pytest.raises(TooBusyError, match="2 uploads are waiting already"):
        jobs.add([], ("a",))
    start.set()
    assert first.page.result(30) == b"page" and isinstance(second.page.exception(30), ValueError)
    assert (first.error, second.error) == ("", "cannot be done")
    for _ in range(3):
        jobs.add([], ("a",)).page.result(30)
    assert jobs.get(first.key) is None and len(jobs._jobs) <= 3
    jobs.close()


def test_memory_is_bounded():
    start = threading.Event()
    jobs = Jobs(lambda pictures, models: start.wait(30) and b"p" * 40, most_bytes=100)
    two = [("a", Image.new("RGB", (4, 5)))] * 2
    waiting = [jobs.add(two, ("a",))]
    with pytest.raises(TooBusyError):
        jobs.add([], ("a",))
    start.set()
    assert waiting[0].page.result(30) and waiting[0].size == 160
    assert jobs.get(waiting[0].key), "the newest page is kept whatever its size"
    jobs.add([], ("a",)).page.result(30)
    assert jobs.get(waiting[0].key) is None
    jobs.close()


def test_pages_are_forgotten_after_a_while():
    jobs = Jobs(lambda pictures, models: b"page", seconds=0.0)
    job = jobs.add([], ("a",))
    job.page.result(30)
    assert jobs.get(job.key) is None
    jobs.close()
