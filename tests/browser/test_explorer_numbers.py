"""Numbers in the page against numpy in float64."""

import numpy as np
import pytest
import torch
from explorer_data import KINDS, Example, attention, quantised

from crate_transformer.inspection import threshold_mass
from crate_transformer.objective import subspace_coding_rate

pytestmark = pytest.mark.browser
ATTENTION = """([picture, model, layer, token]) => {
  const view = explorer.app.pictures[picture].views[model];
  return Array.from(explorer.attention(view, layer, [token]));
}"""
PLACES = [(0, 0, 0, 0), (0, 0, 2, 1), (1, 0, 1, 17), (2, 0, 2, 35)]


def in_page(page, example: Example, place: tuple) -> np.ndarray:
    return np.array(page.evaluate(ATTENTION, list(place))).reshape(example.heads, -1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nothing"])
def test_attention_of_the_values_that_travel(open_page, kind: str, bits: int) -> None:
    example = Example([kind], bits=bits)
    page = open_page(example.data)
    for place in PLACES:
        picture, model, layer, token = place
        raw = example.data["pictures"][picture]["views"][model]["layers"][layer]
        if kind == "membership":
            expected, within = example.membership[place[:3]], 0.501 / (2**bits - 1)
        else:
            keys = example.read_back(raw["features"])
            queries = keys if kind == "shared" else example.read_back(raw["queries"])
            expected, within = attention(queries, keys, token), 1e-6
        assert np.abs(in_page(page, example, place) - expected).max() < within


def test_attention_by_products(open_page) -> None:
    """A layer that compares other vectors than its features, without softmax."""
    example = Example(["shared"])
    layer = example.data["pictures"][0]["views"][0]["layers"][2]
    layer["keys"] = quantised(np.random.default_rng(0).dirichlet([1] * 36, (example.heads, 24)).mT, example.bits)
    layer["softmax"] = False
    products = np.einsum("hnp,hmp->hnm", *[example.read_back(layer["keys"])] * 2)
    expected = products[:, 1] / products[:, 1].sum(axis=-1, keepdims=True)
    assert np.abs(in_page(open_page(example.data), example, (0, 0, 2, 1)) - expected).max() < 1e-6


@pytest.mark.parametrize(("bits", "mean_error"), [(8, 0.02), (16, 1e-4)])
@pytest.mark.parametrize("kind", ["shared", "pair"])
def test_attention_is_exact_within_the_quantisation(open_page, kind: str, bits: int, mean_error: float) -> None:
    """Half a step in each number moves a logit by at most delta, and so each weight by a factor within exp(2 delta)."""
    example = Example([kind], bits=bits)
    page = open_page(example.data)
    moved = []
    for place in PLACES:
        keys = example.keys[place[:3]]
        queries = example.queries.get(place[:3], keys)
        top, token = 2 ** (bits - 1) - 1, place[3]
        key_step = np.abs(keys).max(-1) / top
        query_step = np.abs(queries).max(-1)[:, token, None] / top
        lengths = np.abs(keys).sum(-1), np.abs(queries[:, token]).sum(-1)[:, None]
        size = keys.shape[-1]
        delta = (lengths[0] * query_step + lengths[1] * key_step + size * key_step * query_step / 2) / 2 / size**0.5
        exact, shown = attention(queries, keys, token), in_page(page, example, place)
        bound = np.exp(2 * delta.max(-1, keepdims=True)) * (1 + 1e-5)
        assert (shown <= exact * bound).all() and (exact <= shown * bound).all()
        moved.append(np.abs(shown - exact).sum(-1) / 2)
    assert np.mean(moved) < mean_error


@pytest.mark.parametrize("kind", KINDS)
def test_rate_of_a_region(open_page, kind: str) -> None:
    example = Example([kind], grid=(6, 8))
    page = open_page(example.data)
    region = [9, 10, 11, 17, 18, 19]
    code = """(region) => explorer.regionRates(explorer.app.pictures[1].views[0], 2, region)"""
    found = page.evaluate(code, region)
    keys = torch.from_numpy(example.read_back(example.data["pictures"][1]["views"][0]["layers"][2]["features"]))
    keys = torch.nn.functional.normalize(keys, dim=-1)[:, example.prefix :]
    rest = [patch for patch in range(48) if patch not in region]
    for name, patches in (("region", region), ("rest", rest)):
        expected = subspace_coding_rate(keys[:, patches], epsilon_squared=0.01)
        assert found[name] == pytest.approx(expected.item(), rel=1e-5)
    assert found["random"]["draws"] == 20
    assert found["random"] == page.evaluate(code, region)["random"], "random draws are the same every time"


@pytest.mark.parametrize("head", [None, 2])
def test_similarity_across_pictures(open_page, head: int | None) -> None:
    example = Example(["shared"])
    page = open_page(example.data)
    code = """(head) => {
      const [from, , to] = explorer.app.pictures.map((picture) => picture.views[0]);
      return Array.from(explorer.similarity(from, 5, to, 1, head));
    }"""
    keys = [example.read_back(example.data["pictures"][p]["views"][0]["layers"][1]["features"]) for p in (0, 2)]
    chosen = slice(None) if head is None else slice(head, head + 1)
    mine, theirs = (np.moveaxis(part[chosen], 0, 1).reshape(part.shape[1], -1) for part in keys)
    lengths = np.linalg.norm(mine[5]) * np.linalg.norm(theirs, axis=-1)
    assert page.evaluate(code, head) == pytest.approx((theirs @ mine[5] / lengths)[1:], abs=1e-5)


@pytest.mark.parametrize("fraction", [0.05, 0.6, 1.0])
def test_masks_of_a_mass(open_page, fraction: float) -> None:
    page = open_page(Example().data)
    maps = np.random.default_rng(1).integers(0, 8, (3, 5, 7)).astype(np.float32)
    maps[2] = 0
    code = "([map, fraction]) => Array.from(explorer.massMask(Float32Array.from(map), fraction))"
    for values in maps:
        found = page.evaluate(code, [values.ravel().tolist(), fraction])
        assert (np.reshape(found, values.shape) == threshold_mass(values.astype(np.float64), fraction)).all()


def test_atoms(open_page) -> None:
    example = Example()
    page = open_page(example.data)
    code = example.codes[1, 0, 2]
    token = 7
    found = page.evaluate("(token) => explorer.strongestAtoms(explorer.app.pictures[1].views[0], 2, token)", token)
    best = np.argsort(-code[token])[:8]
    assert [entry["atom"] for entry in found] == best[code[token][best] > 0].tolist()
    assert [entry["strength"] for entry in found] == pytest.approx(
        np.sort(code[token])[::-1][: len(found)], abs=0.501 * code[token].max() / 127
    )
    atom = found[0]["atom"]
    shown = page.evaluate("(a) => Array.from(explorer.atomMap(explorer.app.pictures[1].views[0], 2, a))", atom)
    assert shown[token - 1] == pytest.approx(code[token, atom], rel=1e-6)  # the largest one is exact
