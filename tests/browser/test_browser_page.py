"""A real browser shows the page: pictures load under its own security policy, in light and in dark."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crate_transformer.reports import Section, Table, write_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GREEN, LIGHT, DARK = (0, 200, 0), (0xFD, 0xFD, 0xFB), (0x16, 0x18, 0x1B)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(np.full((200, 1800, 3), GREEN, dtype=np.uint8)).save(folder / "green.png")
    table = Table([f"column {i}" for i in range(12)], [["row", *(0.5 for _ in range(11))]])
    sections = [
        Section("A wide picture", figures=[(folder / "green.png", "green", "green")]),
        Section("T", table=table),
    ]
    path = write_page(folder / "report.html", "A white-box transformer", "What was found.", sections, "x" * 300)
    (folder / "green.png").unlink()
    return path


def screenshot(page: Path, folder: Path, width: int, *options: str) -> np.ndarray:
    target = folder / "shot.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", f"--screenshot={target}"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert target.is_file(), done.stderr
    with Image.open(target) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize(
    ("width", "options", "paper"),
    [(900, (), LIGHT), (400, ("--blink-settings=preferredColorScheme=0",), DARK)],
    ids=["light, wide", "dark, narrow"],
)
def test_the_page_is_shown(page: Path, tmp_path: Path, width: int, options: tuple[str, ...], paper: tuple) -> None:
    shot = screenshot(page, tmp_path, width, *options)
    assert shot.shape[1] == width
    assert (shot[2, 2] == paper).all()
    assert (np.abs(shot.astype(int) - paper).sum(-1) > 300).mean() > 0.01, "there is no text"
    green = np.argwhere((shot == GREEN).all(-1))
    assert len(green), "the picture is not shown"
    assert (shot[:, -3:] == paper).all(), "something is wider than the window"
    assert green[:, 1].max() < width - 10
