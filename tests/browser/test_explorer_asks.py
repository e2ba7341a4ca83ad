"""The interactive page beside a server: combinations of heads and atoms are asked for."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from explorer_data import Example

from crate_transformer.explorer.page import explorer_page

pytestmark = pytest.mark.browser
CLASSES = ["cat", "dog", "fish"]


class Server(ThreadingHTTPServer):
    """Serves the page, keeps what was asked, and answers with fixed numbers or with ``refusal``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.page, self.asked, self.refusal = b"", [], None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.reply(200, "text/html", self.server.page)

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, question))
        if self.server.refusal:
            self.reply(503, "application/json", json.dumps({"error": self.server.refusal}).encode())
        else:
            answer = {"classes": CLASSES, "intact": [0.7, 0.2, 0.1], "zero": [0.1, 0.6, 0.3], "mean": [0.5, 0.3, 0.2]}
            self.reply(200, "application/json", json.dumps(answer).encode())

    def reply(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def page(browser, server: Server) -> Iterator:
    data = Example(server={"url": "/api", "token": "secret"}).data
    server.page = explorer_page(data)
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"http://127.0.0.1:{server.server_port}/#show=prediction")
    yield opened
    context.close()


def test_combinations_are_asked_for(page, server: Server) -> None:
    page.click("[data-place='zero 0 1']")
    page.wait_for_selector("text=Off: head 1 of layer 0")
    assert server.asked == [], "single heads travel with the page"
    page.click("[data-place='zero 2 3']")
    page.wait_for_selector("text=Off: head 1 of layer 0, head 3 of layer 2")
    page.wait_for_selector("td:has-text('60%')")
    question = {"token": "secret", "picture": 0, "model": 0, "off": [[0, 1], [2, 3]], "atoms": []}
    assert server.asked == [("/api/effects", question)]


def test_atoms_are_switched_off(page, server: Server) -> None:
    page.click("#tab-atoms")
    atom = int(page.inner_text(".line[aria-pressed=true] .name >> nth=-1").split()[1])
    page.click("text=Switch this atom off")
    page.wait_for_selector(f"text=Off: atom {atom} of layer 1")
    page.wait_for_selector("td:has-text('60%')")
    assert server.asked[0][1]["atoms"] == [[1, [atom]]]


def test_a_link_asks_what_it_switches_off(page, server: Server) -> None:
    page.evaluate("() => (location.hash = '#show=prediction&off=0,1;2,3&atomsoff=1,7')")
    page.wait_for_selector("text=Off: head 1 of layer 0, head 3 of layer 2, atom 7 of layer 1")
    page.wait_for_selector("td:has-text('60%')")
    assert [(asked["off"], asked["atoms"]) for _, asked in server.asked] == [([[0, 1], [2, 3]], [[1, [7]]])]


def test_a_refusal_is_one_sentence(page, server: Server) -> None:
    server.refusal = "Too many questions wait: try again in a minute."
    page.click("[data-place='zero 0 1']")
    page.click("[data-place='zero 0 2']")
    page.wait_for_selector("[role=alert]")
    assert page.inner_text("[role=alert]") == server.refusal
