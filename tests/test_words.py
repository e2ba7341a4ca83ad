"""Words that this package once used and no longer does (docs/design.md, section 3)."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = {
    r"\btaps?\b|\battention_taps\b|\bhear\b|\.listening\b|somebody listens|nobody listens": "hook point, hook",
    r"\bdoors?\b": "integration",
    r"\b(in|from) the box\b|[Tt]he box:|\bpack_box\b|checkpoints/box\b": "bundled weights",
    r"\bby turns\b": "interleaved",
    r"\bcontenders?\b|\btextbook": "implementation, reference",
    r"\bTrainShares\b|\w_shares?\b": "indices, fraction",
    r"(?<![a-z])_(boxed_|foreign_)?words\b": "timm configuration",
    r"\bwaves\b": "Fourier features",
    r"\bperceptron": "MLP",
    r"\b[Ss]cenes?\b|\bScene(Set|Arrays)\b|open_scenes": "sample",
    r"\bcut_square\b|\bcut_foregrounds\b": "resize and centre crop",
    r"\b[Vv]erdicts?\b": "status",
    r"\bputs? out\b": "output",
    r"\b[Ss]ettles?\b|\bsettle_heads\b": "validate, decide",
    r"\blay_out\b": "permute axes",
    r"that nobody trained|lie to each other|ticks part": "an ordinary sentence",
}
ALIASES = ("old_names(", '    "Scene', '        "Scene', '        "open_scenes', '        "cut_')


def test_old_words_are_gone():
    places = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    places += [file for kind in ("py", "js", "j2", "css") for file in (ROOT / "src").rglob(f"*.{kind}")]
    found = []
    for file in places:
        if "node_modules" in file.parts or "__pycache__" in file.parts:
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if len(line) > 2000 or any(alias in line for alias in ALIASES):
                continue
            found += [
                f"{file.relative_to(ROOT)}:{number}: {match[0]!r}, say {new!r}"
                for old, new in OLD.items()
                for match in re.finditer(old, line)
            ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("layers", "Tap", "HookPoint"),
        ("layers", "attend", "softmax_attention"),
        ("data", "Scene", "SegmentationSample"),
    ],
)
def test_old_names_warn_for_one_version(module, old, new):
    module = importlib.import_module(f"crate_transformer.{module}")
    with pytest.deprecated_call(match=f"{old} is now called {new}"):
        assert getattr(module, old) is getattr(module, new)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing  # noqa: B018
