"""``crate explore`` as a process of its own."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from contextlib import closing

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("multipart")

COMMAND = [sys.executable, "-m", "crate_transformer", "explore", "--size", "48", "--port", "0"]


@pytest.fixture
def served():
    """The address of a running server, which is ended by Ctrl-C."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    with subprocess.Popen(COMMAND, **piped) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/ in a browser; Ctrl-C stops the server\n", line)
            assert found, line + process.stderr.read()
            yield f"127.0.0.1:{found[1]}"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read().strip().endswith("crate: interrupted; the uploaded images are deleted")
        finally:
            process.kill()


def asked(host, path, method="GET", body=None, **headers):
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("location"), answer.read().decode()


def test_from_a_sample_to_its_page(served):
    assert "Drop pictures here" in asked(served, "/")[2]
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, place, _ = asked(served, "/pictures", "POST", urllib.parse.urlencode({"sample": "cat"}), **form)
    assert status == 303
    deadline = time.monotonic() + 120
    while 'id="data"' not in (page := asked(served, place)[2]):
        assert "The result appears here by itself" in page and time.monotonic() < deadline, page
        time.sleep(0.2)
    assert '"server":{' in page


def test_what_cannot_be_served(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused("explore", "--port", str(port))
        assert told.startswith(f"cannot listen on 127.0.0.1:{port} (") and "choose another --port" in told
    assert refused("explore", "--port", "70000").startswith("--port is 70000: it must be between 1 and 65535, or 0 for")
    assert "nothing.pt" in refused("explore", "nothing.pt", "--port", "0")
    assert refused("explore", "a", "a", "--port", "0") == "a checkpoint is given twice: give each one once"
    assert refused("explore", "--size", "0") == "--size is 0: it must be at least one pixel"


def test_a_server_for_all_addresses_knows_those_of_this_machine():
    from crate_transformer.cli.explore import Command

    assert Command(host="0.0.0.0").names() > {"127.0.0.1", "localhost", socket.gethostname()}
    assert Command(host="10.1.2.3").names() == {"127.0.0.1", "localhost", "::1", "10.1.2.3"}


def test_what_a_browser_calls_the_server():
    from crate_transformer.cli.explore import named

    assert named("::1", 8750) == ["[::1]:8750"]
    assert named("MyBox", 80) == ["mybox:80", "mybox"], "a browser leaves HTTP's own port out"
