"""Data for the interactive page: random models of every kind, with the exact numbers they were made from."""

import base64
import io

import numpy as np
from PIL import Image

KINDS = ("shared", "pair", "membership", "nothing")


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(text: str, dtype: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def quantised(values: np.ndarray, bits: int) -> dict:
    """Integers and one scale for each head and token."""
    top = 2 ** (bits - 1) - 1
    scales = (np.abs(values).max(axis=-1) / top).astype("<f4")
    return {"values": encoded(np.rint(values / scales[..., None]).astype(f"<i{bits // 8}")), "scales": encoded(scales)}


def picture_source(rng: np.random.Generator, height: int, width: int) -> str:
    small = Image.fromarray(rng.integers(30, 226, (4, 4, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return f"data:image/png;base64,{encoded(np.frombuffer(buffer.getvalue(), np.uint8))}"


class Example:
    """The page's data in ``data``, and what they stand for: ``keys`` and ``queries`` by (picture, model, layer)."""

    def __init__(
        self,
        kinds=("shared",),
        *,
        grid=(5, 7),
        layers=3,
        heads=4,
        head_dim=16,
        pictures=3,
        bits=8,
        prefix=1,
        effects=True,
        server=None,
        names=("first", "second", "third"),
        seed=0,
    ):
        self.rng = np.random.default_rng(seed)
        self.keys, self.queries, self.membership, self.codes = {}, {}, {}, {}
        self.layers, self.heads, self.head_dim, self.bits, self.prefix = layers, heads, head_dim, bits, prefix
        self.effects = effects
        models = [self.model(kind, number) for number, kind in enumerate(kinds)]
        shown = []
        for p in range(pictures):
            shown.append(
                {
                    "name": names[p % len(names)],
                    "source": picture_source(self.rng, 8 * grid[0], 8 * grid[1]),
                    "width": 8 * grid[1],
                    "height": 8 * grid[0],
                    "views": [self.view(p, m, kind, grid) for m, kind in enumerate(kinds)],
                }
            )
        self.data = {"format": 1, "title": "A test", "server": server, "models": models, "pictures": shown}

    def curve(self) -> dict:
        return {"set": self.falling(), "untrained": self.falling()}

    def falling(self) -> list[float]:
        return np.sort(self.rng.uniform(1, 100, self.layers))[::-1].tolist()

    def model(self, kind: str, number: int) -> dict:
        sparse = kind == "shared"
        return {
            "name": f"model {number} ({kind})",
            "family": {"shared": "CRATE", "pair": "ViT", "membership": "ToST", "nothing": "HyperSET"}[kind],
            "compares": kind,
            "layers": self.layers,
            "heads": self.heads,
            "head_dim": self.head_dim,
            "prefix": self.prefix,
            "class_token": self.prefix > 0,
            "patch": [8, 8],
            "bits": self.bits,
            "epsilon_squared": 0.01,
            "lowers_rate": kind == "shared",
            "atoms": {"count": 50, "name": "ISTA output"} if sparse else None,
            "best_head": None,
            "about": "Random numbers.\nNot a model.",
            "reference": "the pictures of this page",
            "curves": {
                "rate_before": self.curve(),
                "rate_after": self.curve(),
                "nonzero": self.curve(),
                "sparse_before": self.curve() if sparse else None,
                "sparse_after": self.curve() if sparse else None,
            },
        }

    def view(self, picture: int, model: int, kind: str, grid: tuple[int, int]) -> dict:
        classes = ["cat", "dog", "fish"]
        intact = self.rng.dirichlet([4, 2, 1])
        off = self.rng.dirichlet([4, 2, 1], (2, self.layers, self.heads))
        sparse = kind == "shared"
        mask = np.zeros(grid, bool)
        mask[1:3, 2:5] = True
        return {
            "grid": list(grid),
            "top": [[name, float(share)] for name, share in zip(classes, intact, strict=True)],
            "layers": [self.layer(picture, model, layer, kind, grid) for layer in range(self.layers)],
            "rate_before": self.falling(),
            "rate_after": self.falling(),
            "nonzero": [0.5] * self.layers,
            "sparse_before": self.falling() if sparse else None,
            "sparse_after": self.falling() if sparse else None,
            "objects": [encoded(np.packbits(mask.ravel()))],
            "effects": {"classes": classes, "intact": intact.tolist(), "zero": off[0].tolist(), "mean": off[1].tolist()}
            if self.effects
            else None,
        }

    def layer(self, picture: int, model: int, layer: int, kind: str, grid: tuple[int, int]) -> dict:
        key, patches = (picture, model, layer), grid[0] * grid[1]
        tokens = patches + self.prefix
        shape = (self.heads, tokens, self.head_dim)
        self.keys[key] = self.rng.normal(0, 1.2, shape)
        written = {"features": quantised(self.keys[key], self.bits), "keys": None, "queries": None, "softmax": True}
        written |= {"membership": None, "atoms": None}
        if kind == "pair":
            self.queries[key] = self.rng.normal(0, 1.2, shape)
            written["queries"] = quantised(self.queries[key], self.bits)
        if kind == "membership":
            share = self.rng.dirichlet([1] * self.heads, tokens).T
            self.membership[key] = share
            top = 2**self.bits - 1
            written["membership"] = encoded(np.rint(share * top).astype(f"<u{self.bits // 8}"))
        if kind == "shared":
            code = np.maximum(self.rng.normal(-0.5, 1, (tokens, 50)), 0)
            index = np.argsort(-code, axis=-1)[:, :8]
            self.codes[key] = code
            strength = np.take_along_axis(code, index, axis=-1).astype("<f4")
            written["atoms"] = {"index": encoded(index.astype("<u2")), "strength": quantised(strength[None], self.bits)}
        written["colours"] = encoded(self.rng.integers(0, 256, (patches, 3), dtype=np.uint8))
        return written

    def read_back(self, quantised_part: dict) -> np.ndarray:
        """What the page has of ``keys`` or ``queries``: float64 of the quantised values."""
        scales = decoded(quantised_part["scales"], "<f4", self.heads, -1)
        integers = decoded(quantised_part["values"], f"<i{self.bits // 8}", *scales.shape, -1)
        return integers.astype(np.float64) * scales[..., None]


def attention(queries: np.ndarray, keys: np.ndarray, token: int) -> np.ndarray:
    """softmax_j(q_token . k_j / sqrt(p)) of every head, in float64."""
    logits = np.einsum("hp,hnp->hn", queries[:, token], keys) / np.sqrt(keys.shape[-1])
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
