"""The interactive page as a file: safety, sizes of screen, speed of hovering."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from explorer_data import Example

import crate_transformer.explorer.page as assembly
from crate_transformer.explorer.page import explorer_page

FOLDER = Path(assembly.__file__).parent / "page"
TABS = ("heads", "similar", "atoms", "objective", "masks", "prediction")
HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "$& ${a} `\"'\\ \u2028", "<!--"]


def test_the_bundle_is_what_the_sources_give() -> None:
    esbuild = FOLDER / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists() or shutil.which("node") is None:
        pytest.skip("no node with esbuild: make explorer-page")
    options = re.search(r'"esbuild (.*?) --outfile', (FOLDER / "package.json").read_text())[1].split()
    built = subprocess.run([esbuild, *options], cwd=FOLDER, capture_output=True, check=True).stdout
    assert built == (FOLDER / "page.js").read_bytes(), "page.js is old: make explorer-page"


def test_sources_are_short() -> None:
    assert not [file.name for file in FOLDER.glob("src/*.js") if len(file.read_text().splitlines()) > 250]


def test_nothing_in_the_page_can_break_out_of_its_script() -> None:
    assert not re.search(r"</script|<!--|innerHTML|eval\(|new Function", (FOLDER / "page.js").read_text())
    data = Example(names=HOSTILE).data
    page = explorer_page(data).decode()
    assert page.count("<script") == page.count("</script>") == 2
    assert "onerror=alert" not in page.replace("\\u003cimg src=x onerror=alert", "")
    with pytest.raises(ValueError, match="format 1"):
        explorer_page({"format": 2})
    with pytest.raises(ValueError):
        explorer_page(data | {"extra": float("nan")})


@pytest.mark.browser
def test_hostile_names_are_only_text(open_page) -> None:
    example = Example(names=HOSTILE, pictures=4)
    data = example.data
    data["title"] = HOSTILE[0]
    data["models"][0] |= {"name": HOSTILE[1], "about": HOSTILE[0], "reference": HOSTILE[2]}
    for picture in data["pictures"]:
        view = picture["views"][0]
        view["top"][0][0] = view["effects"]["classes"][0] = HOSTILE[0]
    page = open_page(data)
    assert page.inner_text("h1") == HOSTILE[0]
    for tab in TABS:
        page.click(f"#tab-{tab}")
    assert page.locator("#panel tbody th").first.inner_text() == HOSTILE[0]
    assert page.evaluate("() => document.querySelectorAll('script').length") == 2
    assert page.evaluate("() => explorer.app.pictures.map((picture) => picture.name)") == HOSTILE


@pytest.mark.browser
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize(
    ("width", "options"),
    [(1280, {}), (640, {"color_scheme": "dark"}), (390, {"has_touch": True, "is_mobile": True}), (320, {})],
    ids=["desktop", "200% zoom, dark", "phone", "narrow"],
)
def test_nothing_is_wider_than_the_screen(open_page, models: int, width: int, options: dict) -> None:
    kinds = ["shared", "pair"][:models]
    data = Example(kinds, heads=12, layers=12, grid=(14, 14), head_dim=4).data
    data["models"][0]["name"] = "crate_compact_patch8_64.tiny_imagenet_100_caltech_" * 2
    page = open_page(data, viewport={"width": width, "height": 800}, **options)
    page.evaluate("() => (document.getElementById('how').open = true)")
    for tab in TABS:
        page.click(f"#tab-{tab}")
        if tab == "prediction":
            page.click("[data-place='zero 1 1'] >> nth=0")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, tab
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(22, 24, 27)" if options.get("color_scheme") == "dark" else "rgb(253, 253, 251)")


@pytest.mark.browser
def test_touch(open_page) -> None:
    page = open_page(Example().data, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = page.locator(".picture").bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"] / 7, box["y"] + 4.5 * box["height"] / 5)
    assert page.evaluate("() => explorer.app.state.patch") == [4, 0]
    assert page.evaluate("() => explorer.app.state.pins") == [[4, 0]]


@pytest.mark.browser
def test_print_shows_picture_and_panel(open_page) -> None:
    page = open_page(Example().data)
    page.emulate_media(media="print")
    assert page.locator(".picture").is_visible() and page.locator(".tiles").is_visible()
    assert not page.locator(".thumbnails").is_visible() and not page.locator(".options").is_visible()


@pytest.mark.browser
def test_in_the_sandboxed_frame_of_a_notebook(browser, tmp_path: Path) -> None:
    inside = html.escape(explorer_page(Example().data).decode(), quote=True)
    file = tmp_path / "notebook.html"
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{inside}" width="1000" height="800"></iframe>'
    file.write_text(f"<!DOCTYPE html><title>Notebook</title>{frame}", encoding="utf-8")
    context = browser.new_context(offline=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    shown = page.frame_locator("iframe")
    shown.locator(".tiles .tile >> nth=2").click()
    shown.locator("h4:has-text('Head 2 of layer 1')").wait_for()
    page.wait_for_timeout(400)  # the address would be written now
    context.close()
    assert not complaints


def random_walk(page, grid: tuple[int, int], steps: int) -> list[dict[str, float]]:
    """Move over the picture at random moments; what the page measured of each hover until all heads were drawn."""
    box, rng = page.locator(".picture").bounding_box(), np.random.default_rng(0)
    page.evaluate("() => (explorer.app.drawn.length = 0)")
    for row, column in rng.integers(0, grid, (steps, 2)):
        x, y = box["x"] + (column + 0.5) * box["width"] / grid[1], box["y"] + (row + 0.5) * box["height"] / grid[0]
        page.mouse.move(x, y)
        page.wait_for_timeout(20 + 20 * rng.random())
    return page.evaluate("() => explorer.app.drawn")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "layers", "heads", "limit"),
    [((16, 16), 6, 5, 16), ((28, 28), 12, 6, 50)],
    ids=["257 tokens, 6 layers, 5 heads", "785 tokens, 12 layers, 6 heads"],
)
def test_hovering_is_fast(open_page, grid: tuple[int, int], layers: int, heads: int, limit: float) -> None:
    """From the moment the page hears of the pointer; since the movement itself, up to one frame more (printed)."""
    data = Example(grid=grid, layers=layers, heads=heads, head_dim=64, pictures=1).data
    times = random_walk(open_page(data), grid, 200)
    heard, happened = ([time[since] for time in times] for since in ("heard", "happened"))
    for name, values in (("page hears to drawn", heard), ("movement to drawn", happened)):
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        print(f"{grid} {name}: median {middle:.1f} ms (5% {low:.1f}, 95% {high:.1f}) of {len(values)}")
    assert len(times) > 150 and np.median(heard) <= limit


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_of_eight_pictures_opens_fast(open_page) -> None:
    """From the start of loading until all heads of the first picture are drawn."""
    data = Example(grid=(16, 16), layers=6, heads=5, head_dim=64, pictures=8).data
    size, opened = len(explorer_page(data)), open_page(data).evaluate("() => explorer.app.opened")
    print(f"{size / 1e6:.1f} MB opened in {opened:.0f} ms")
    assert size <= 8e6 and opened <= 2000
