"""``crate explore`` in a real browser: drop pictures, look, switch heads off, delete."""

import base64
import io
import re
import subprocess
import sys

import pytest
from PIL import Image

from crate_transformer.data import photograph

pytest.importorskip("uvicorn", reason="no uvicorn: make setup")
pytestmark = pytest.mark.browser

DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "crate_transformer", "explore", "--size", "48", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
        process.terminate()


@pytest.fixture
def tab(browser, address):
    complaints = []
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()

    def heard(message):
        if message.type == "error" and "status of 400" not in message.text:  # chromium tells of each such answer
            complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert not complaints


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_dropped_pictures_become_a_page_where_heads_are_switched_off(tab):
    small = photograph("cat").resize((120, 90), Image.Resampling.BICUBIC)
    tab.evaluate(
        DROP, [["<b>cat</b> & $1.png", png(small)], ["coffee.png", png(photograph("coffee").resize((96, 64)))]]
    )
    tab.locator(".tiles").first.wait_for(timeout=120_000)
    assert tab.evaluate("explorer.app.pictures.map((picture) => picture.name)") == ["<b>cat</b> & $1.png", "coffee.png"]
    tab.evaluate("explorer.app.set({ tab: 'prediction' })")
    for label in ("Layer 5, head 0", "Layer 4, head 3"):
        tab.get_by_role("button", name=label, exact=True).click()
    off = tab.get_by_text("Off: head 0 of layer 5, head 3 of layer 4")
    off.wait_for(timeout=60_000)
    tab.get_by_role("columnheader", name="off: mean").wait_for(timeout=60_000)
    answer = tab.evaluate("explorer.app.effects[0].answer")
    assert len(answer["classes"]) == 5 and answer["zero"] != answer["intact"] != answer["mean"]


def test_what_is_no_picture_is_told_in_a_sentence(tab):
    tab.evaluate(DROP, [["notes.png", base64.b64encode(b"%PDF-1.7 nothing").decode()]])
    tab.get_by_role("status").wait_for(timeout=60_000)
    assert "notes.png is not a readable image" in tab.get_by_role("status").inner_text()
    tab.get_by_role("link", name="Choose pictures").click()
    assert tab.get_by_role("button", name="Look inside").is_visible()


def test_the_first_page_fits_a_narrow_screen(tab):
    tab.set_viewport_size({"width": 320, "height": 600})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320


def test_too_many_are_told_before_anything_is_sent(tab):
    tab.evaluate(DROP, [[f"{number}.png", ""] for number in range(17)])
    assert tab.get_by_role("alert").inner_text() == "17 pictures are more than 16 at a time: choose fewer."


def test_a_sample_without_dragging(tab):
    tab.get_by_label("rocket").check()
    tab.get_by_role("button", name="Look inside").click()
    tab.locator(".tiles").first.wait_for(timeout=120_000)
    assert tab.evaluate("explorer.app.pictures[0].name") == "rocket"
    tab.get_by_role("button", name="Delete these pictures").click()
    tab.get_by_role("button", name="Look inside").wait_for(timeout=60_000)
