"""How fast ``crate explore`` turns an upload into its page, and whether many browsers at once leave its memory flat.

    python benchmarks/explorer_server.py [--checkpoint NAME] [--clients 20] [--seconds 120]

Every client uploads a photograph, waits for the page, asks what switching heads off does, deletes the upload, and
begins again. Prints JSON: seconds from upload to page alone (median of ten after one to warm up), and, with all
clients, pages, errors and memory of the server over time.
"""

import argparse
import io
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import psutil

from crate_transformer.data import PHOTOGRAPHS, photograph


def main() -> None:
    """Start a server, measure it, end it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="crate_compact_patch8_64.tiny_imagenet_100_caltech")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "crate_transformer", "explore", options.checkpoint, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        address = re.search(r"http://\S+", server.stdout.readline())[0].rstrip("/")
        try:
            print(json.dumps(measure(address, psutil.Process(server.pid), options.clients, options.seconds), indent=1))
        finally:
            server.terminate()


def measure(address: str, server: psutil.Process, clients: int, seconds: float) -> dict[str, object]:
    """One client alone, then all of them."""
    pictures = {name: encoded(name) for name in PHOTOGRAPHS}
    with httpx.Client(base_url=address, timeout=120) as client:
        alone = [visit(client, "cat", pictures["cat"], ask=False) for _ in range(11)][1:]
    memory, found, errors, lock = [], [], [], threading.Lock()
    end = time.monotonic() + seconds

    def browse(seed: int) -> None:
        choose = random.Random(seed)
        with httpx.Client(base_url=address, timeout=120) as client:
            while time.monotonic() < end:
                name = choose.choice(list(pictures))
                try:
                    took = visit(client, name, pictures[name], ask=True)
                except Exception as error:  # whatever it is, it is counted
                    with lock:
                        errors.append(repr(error)[:200])
                else:
                    with lock:
                        found.append(took)

    threads = [threading.Thread(target=browse, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(server.memory_info().rss)
        time.sleep(1)
    quarter = max(1, len(memory) // 4)
    return {
        "upload_to_page_seconds": statistics.median(alone),
        "clients": clients,
        "pages": len(found),
        "page_seconds_with_all_clients": statistics.median(found) if found else None,
        "errors": len(errors),
        "first_errors": errors[:3],
        "memory_mb": [round(value / 2**20) for value in memory[:: max(1, len(memory) // 12)]],
        "growth_of_the_last_three_quarters_mb": round(
            (statistics.mean(memory[-quarter:]) - statistics.mean(memory[quarter : 2 * quarter])) / 2**20, 1
        ),
    }


def visit(client: httpx.Client, name: str, content: bytes, *, ask: bool) -> float:
    """Upload, wait for the page, perhaps ask, delete; the seconds from the upload to the page."""
    began = time.monotonic()
    sent = client.post("/pictures", files={"pictures": (f"{name}.jpg", content, "image/jpeg")})
    if sent.status_code != 303:
        raise ValueError(f"{sent.status_code}: {sent.text[-300:]}")
    place = sent.headers["location"]
    while 'id="data"' not in (page := client.get(place).text):
        time.sleep(0.02)
    took = time.monotonic() - began
    if ask:
        data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
        for head in range(3):
            question = {"token": data["server"]["token"], "picture": 0, "model": 0, "off": [[0, head]], "atoms": []}
            client.post(f"{place}effects", json=question).raise_for_status()
    if client.post(f"{place}delete").status_code != 200:
        raise ValueError("the upload was not deleted")
    return took


def encoded(name: str) -> bytes:
    """A photograph as a JPEG file."""
    file = io.BytesIO()
    photograph(name).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
