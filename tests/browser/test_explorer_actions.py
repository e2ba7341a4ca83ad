"""What a reader does with the interactive page: hover, keys, pins, regions, links, heads off, downloads."""

import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from explorer_data import KINDS, Example
from PIL import Image
from pycocotools import mask as coco_masks

pytestmark = pytest.mark.browser
TABS = ("heads", "similar", "atoms", "objective", "masks", "prediction")


def hover(page, row: int, column: int, grid=(5, 7)) -> None:
    page.mouse.move(*centre(page, row, column, grid))


def centre(page, row: int, column: int, grid=(5, 7)) -> tuple[float, float]:
    box = page.locator(".picture").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / grid[1], box["y"] + (row + 0.5) * box["height"] / grid[0]


def state(page) -> dict:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page.evaluate("() => explorer.app.state")


def tiles(page) -> list[bytes]:
    state(page)
    return page.evaluate("() => Array.from(document.querySelectorAll('.tiles canvas'), (c) => c.image.data.join())")


@pytest.mark.parametrize("kind", ["shared", "pair"])
def test_hovering_redraws_every_head(open_page, kind: str) -> None:
    page = open_page(Example([kind]).data)
    hover(page, 0, 0)
    before = tiles(page)
    hover(page, 4, 6)
    after = tiles(page)
    assert len(before) == len(after) == 4
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert state(page)["patch"] == [4, 6]
    page.wait_for_function(
        "() => document.querySelector('.status').textContent === 'Layer 1, patch at row 4, column 6'"
    )
    assert page.evaluate("() => explorer.app.drawn.length") >= 2


def test_memberships_say_the_share_of_the_patch(open_page) -> None:
    example = Example(["membership"])
    page = open_page(example.data, "#layer=2&patch=3,1")
    shares = example.membership[0, 0, 2][:, 1 + 3 * 7 + 1]
    texts = page.locator(".tiles .label span").all_inner_texts()
    shown = [float(text.removeprefix("share ").removesuffix("%")) / 100 for text in texts]
    assert shown == pytest.approx(shares, abs=0.006)


def test_keys(open_page) -> None:
    page = open_page(Example().data)
    assert state(page)["layer"] == 1
    page.keyboard.press("ArrowRight")
    assert state(page)["layer"] == 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert state(page)["layer"] == 1
    page.focus(".picture")
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert state(page)["patch"] == [1, 1] and state(page)["pins"] == [[1, 1]] and state(page)["layer"] == 1
    page.keyboard.press("PageDown")
    assert state(page)["layer"] == 2
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert state(page)["region"] == [1, 1, 2, 2]
    page.keyboard.press("c")
    assert state(page)["asks"] == "class"
    page.keyboard.press("Escape")
    assert state(page)["pins"] == [] and state(page)["region"] is None
    page.focus("#tab-heads")
    page.keyboard.press("ArrowRight")
    assert state(page)["tab"] == "similar" and page.evaluate("() => document.activeElement.id") == "tab-similar"


def test_every_control_can_be_reached_by_tab(open_page) -> None:
    page = open_page(Example(["shared", "pair"]).data)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        state(page)
        lost = page.evaluate(
            "() => Array.from(document.querySelectorAll('button, input, select, canvas')).filter((node) =>"
            " node.tagName !== 'CANVAS' && node.tabIndex < 0 && node.getAttribute('role') !== 'tab').length"
        )
        nameless = page.evaluate(
            "() => Array.from(document.querySelectorAll('button, input, select')).filter((node) =>"
            " !(node.textContent.trim() || node.ariaLabel || node.labels?.[0]?.textContent.trim()))"
            ".map((node) => node.outerHTML)"
        )
        assert not lost and not nameless


def test_pins_are_compared(open_page) -> None:
    page = open_page(Example().data)
    for place in ((0, 1), (2, 2), (4, 5)):
        page.mouse.click(*centre(page, *place))
    assert state(page)["pins"] == [[0, 1], [2, 2], [4, 5]]
    assert page.locator(".compared .card").count() == 4
    page.mouse.click(*centre(page, 2, 2))
    assert state(page)["pins"] == [[0, 1], [4, 5]]
    assert "B: patch at row 4, column 5" in page.inner_text(".compared")
    page.click("button:text-is('Clear')")
    state(page)
    assert page.locator(".compared .card").count() == 1


def test_dragging_selects_a_region(open_page) -> None:
    page = open_page(Example().data, "#show=objective")
    page.mouse.move(*centre(page, 1, 2))
    page.mouse.down()
    page.mouse.move(*centre(page, 3, 4), steps=4)
    page.mouse.up()
    assert state(page)["region"] == [1, 2, 3, 4] and state(page)["pins"] == []
    page.wait_for_selector("text=Region, 9 patches")
    assert "20 draws of 9 random patches" in page.inner_text(".boxed") and "seed 0" in page.inner_text(".boxed")
    page.click("#tab-heads")
    assert "region of 9 patches" in page.inner_text(".compared")


def test_hovering_a_layer_of_the_objective_shows_its_tokens(open_page) -> None:
    data = Example().data
    page = open_page(data, "#layer=1&show=objective")
    tokens = "() => document.querySelector('.hovered canvas').image.data.join()"
    before = page.evaluate(tokens)
    page.hover(".chart >> nth=0 >> .hit >> nth=2")
    assert page.inner_text(".hovered figcaption") == "Layer 2: tokens and values"
    assert page.evaluate(tokens) != before and state(page)["layer"] == 1
    page.click(".chart >> nth=0 >> .hit >> nth=2")
    assert state(page)["layer"] == 2
    lowered = page.inner_text(".quantity >> nth=0 >> .caption")
    view = data["pictures"][0]["views"][0]
    count = sum(after < before for before, after in zip(view["rate_before"], view["rate_after"], strict=True))
    assert f"Lowered in {count} of 3 layers" in lowered


def test_class_token(open_page) -> None:
    page = open_page(Example(prefix=2).data)
    page.click("button:text-is('Class token')")
    state(page)
    assert "class token looks" in page.inner_text(".says") and state(page)["asks"] == "class"
    none = open_page(Example(prefix=0).data)
    assert none.locator("button:text-is('Class token')").is_disabled()


def test_a_link_shows_the_same_view(open_page) -> None:
    data = Example(["shared", "pair"]).data
    page = open_page(data)
    page.click(".thumbnail >> nth=2")
    page.keyboard.press("ArrowLeft")
    page.click(".tiles >> nth=0 >> .tile >> nth=3")
    page.mouse.click(*centre(page, 4, 1))
    hover(page, 3, 3)
    page.click("#tab-atoms")
    page.wait_for_function("() => location.hash.includes('show=atoms')")
    address = page.evaluate("() => location.hash")
    assert "layer=0" in address and "head=3,0" in address and "picture=2" in address and "pins=4,1" in address
    assert state(open_page(data, address)) == state(page)
    page.evaluate("() => (location.hash = '#layer=2&head=1,1&patch=0,0')")
    page.wait_for_function("() => explorer.app.state.layer === 2 && explorer.app.state.picture === 0")


def test_a_link_keeps_settings_masks_and_what_is_off(open_page) -> None:
    data = Example(["shared", "pair"]).data
    page = open_page(data, "#layer=1&show=masks")
    page.select_option("text=Mask from", "pca,2")
    page.get_by_role("slider", name="Keep components").fill("0.7")
    page.select_option("text=Mask from", "patch")
    page.get_by_role("slider", name="Keep the largest").fill("0.35")
    page.check("text=Inverted")
    state(page)  # drawn
    says = page.locator(".says").all_inner_texts()
    page.click("#tab-similar")
    page.select_option("text=Features of", "2")
    page.select_option("text=Shown as", "colours")
    page.click("#tab-atoms")
    page.click("text=Keep this atom")
    page.click("#tab-heads")
    page.get_by_label("Over the picture").first.check()
    page.click("#tab-prediction")
    page.click("[data-place='zero 2 3'] >> nth=1")
    page.wait_for_function("() => location.hash.includes('off=/2,3')")
    address = page.evaluate("() => location.hash")
    assert "mask=patch&mass=0.35&above=0.7&inverted=1" in address
    other = open_page(data, address)
    assert state(other) == state(page)
    other.wait_for_selector("text=Off: head 3 of layer 2")
    other.click("#tab-masks")
    state(other)
    assert other.locator(".says").all_inner_texts() == says


def test_an_address_that_says_nonsense(open_page) -> None:
    data = Example().data
    usual = state(open_page(data))
    for address in (
        "#layer=99&head=-1&patch=5,700&picture=9",
        "#patch=<script>&show=%3Cb%3E",
        "#%E0%A4%A",
        "#pins=1;2;;9,9&region=3,3,1,1",
        "#mask=pca&mass=7&above=x&inverted=2&features=4&off=9,9&atomsoff=1,1&atom=0&over=yes",
    ):
        assert state(open_page(data, address)) == usual, address


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), ("shared", "nothing"), ("nothing", "membership")])
def test_all_panels_of_all_kinds_draw(open_page, kinds: tuple[str, ...]) -> None:
    page = open_page(Example(kinds, prefix=1).data)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        hover(page, 2, 2)
        hover(page, 3, 3)
        state(page)
        assert len(page.inner_text("#panel")) > 40


def test_attention_without_maps_has_no_head_maps_and_no_masks_of_heads(open_page) -> None:
    page = open_page(Example(["nothing"]).data)
    page.click("#tab-heads")
    assert page.inner_text("#panel .says").startswith("The attention of this model has no maps.")
    page.click("#tab-masks")
    page.wait_for_selector("#panel option[value='pca,0']", state="attached")
    assert page.locator("#panel .tile:visible").count() == 0
    assert all(choice.startswith(("PCA", "MaskCut")) for choice in page.locator("#panel option").all_inner_texts())


def test_a_head_switched_off(open_page) -> None:
    data = Example().data
    page = open_page(data, "#show=prediction")
    page.click("[data-place='mean 2 1']")
    page.wait_for_selector("text=Off: head 1 of layer 2")
    effects = data["pictures"][0]["views"][0]["effects"]
    rows = page.locator("table.shares >> nth=1 >> tbody tr").all_inner_texts()
    for c, row in enumerate(rows):
        numbers = [float(part.strip("%")) / 100 for part in row.split()[1:]]
        expected = [effects["intact"][c], effects["zero"][2][1][c], effects["mean"][2][1][c]]
        assert row.split()[0] == effects["classes"][c] and numbers == pytest.approx(expected, abs=0.006)
    assert page.evaluate("() => document.activeElement.dataset.place") == "mean 2 1"
    page.click("text=All on again")
    page.wait_for_selector("text=Off: head", state="detached")
    assert "crate explore" in page.inner_text("#panel")


def test_effects_that_were_not_computed(open_page) -> None:
    page = open_page(Example(effects=False).data, "#show=prediction")
    assert "open the model with crate explore" in page.inner_text("#panel")
    data = Example(effects=False, server={"url": ".", "token": ""}).data
    for picture in data["pictures"]:
        picture["views"][0]["top"] = []
    page = open_page(data, "#show=prediction&off=0,1")
    assert "Without classes there is no prediction" in page.inner_text("#panel")
    assert page.locator(".effects").count() == 0
    page.click("#tab-atoms")
    assert not page.get_by_role("button", name="Switch this atom off").is_visible()


def test_copying_is_left_to_the_browser(open_page) -> None:
    page = open_page(Example().data)
    page.focus(".picture")
    page.keyboard.press("Control+c")
    assert state(page)["asks"] == "patch"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize(
    ("source", "inverted"), [("class", False), ("pca,1", False), ("maskcut,0", False), ("maskcut,0", True)]
)
def test_masks_as_files(open_page, source: str, inverted: bool) -> None:
    data = Example().data
    page = open_page(data, "#show=masks&layer=2&head=1")
    page.select_option("text=Mask from", source)
    if inverted:
        page.check("text=Inverted")
    state(page)
    kept = int(page.inner_text(".says").split(": ")[1].split()[0])
    files = {}
    for name in ("PNG", "COCO JSON", "SVG"):
        with page.expect_download() as waiting:
            page.click(f"button:text-is('{name}')")
        files[name] = waiting.value.path().read_bytes()
        assert waiting.value.suggested_filename.startswith("first-")
        assert ("inverted" in waiting.value.suggested_filename) == inverted
    mask = np.asarray(Image.open(io.BytesIO(files["PNG"])).convert("L")) > 127
    assert mask.shape == (40, 56) and mask.sum() == 64 * kept
    if source == "maskcut,0":
        expected = np.zeros((5, 7), bool)
        expected[1:3, 2:5] = True
        assert (mask[4::8, 4::8] == (expected ^ inverted)).all()
    coco = json.loads(files["COCO JSON"])
    (annotation,) = coco["annotations"]
    runs = coco_masks.frPyObjects(annotation["segmentation"], 40, 56)
    assert (coco_masks.decode(runs) == mask).all() and annotation["area"] == mask.sum()
    assert annotation["bbox"] == coco_masks.toBbox(runs).tolist()
    path = ElementTree.fromstring(files["SVG"]).find("{http://www.w3.org/2000/svg}path").get("d")
    assert shoelace(path) == kept


def shoelace(path: str) -> float:
    """The area inside the outlines of a path."""
    area = 0.0
    for part in path.split("M")[1:]:
        corners = np.array([corner.split() for corner in part.removesuffix("Z").split("L")], float)
        x, y = corners.T
        area += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    return area


def test_two_models_are_linked(open_page) -> None:
    small, large = Example(["shared"], layers=3), Example(["pair"], grid=(10, 14), layers=2, heads=3, seed=1)
    data = small.data
    data["models"] += large.data["models"]
    for picture, other in zip(data["pictures"], large.data["pictures"], strict=True):
        picture["views"] += other["views"]
    page = open_page(data)
    hover(page, 2, 3)
    marks = page.locator(".tiles").nth(1).locator(".mark").first
    state(page)
    assert marks.evaluate("(node) => [node.style.left, node.style.top]") == ["50%", "50%"]
    page.keyboard.press("ArrowRight")
    assert state(page)["layer"] == 2
    assert [text[:8] for text in page.locator(".says").all_inner_texts()] == ["Layer 2:", "Layer 1:"]
    for tab in TABS:
        page.click(f"#tab-{tab}")
        hover(page, 1, 1)
        state(page)
        assert page.locator("#panel .model").count() == 2


def test_a_model_without_class_token_beside_one_with(open_page) -> None:
    without, beside = Example(["shared"], prefix=0), Example(["shared"], prefix=1)
    data = without.data
    data["models"] += beside.data["models"]
    data["models"][1]["best_head"] = {"layer": 2, "head": 1, "why": "largest mean IoU"}
    for picture, other in zip(data["pictures"], beside.data["pictures"], strict=True):
        picture["views"] += other["views"]
    page = open_page(data, "#token=class&layer=2&head=0,1&patch=2,2")
    says = page.locator(".says").all_inner_texts()
    assert ["the patch at row 2, column 2" in says[0], "the class token" in says[1]] == [True, True]
    named = "The checkpoint names this head as the best at telling objects from the background: largest mean IoU."
    assert named in page.inner_text("#panel")


def test_crops_lead_to_their_picture(open_page) -> None:
    page = open_page(Example().data, "#show=similar")
    title = page.get_attribute(".crops .tile >> nth=0", "title")
    page.click(".crops .tile >> nth=0")
    name, row, column = (part.split()[-1] for part in title.split(", "))
    assert state(page)["patch"] == [int(row), int(column)]
    assert state(page)["picture"] == ["first", "second", "third"].index(name)


def test_two_tabs_do_not_disturb_each_other(open_page) -> None:
    data = Example().data
    one, other = open_page(data), open_page(data)
    one.keyboard.press("ArrowRight")
    assert (state(one)["layer"], state(other)["layer"]) == (2, 1)
