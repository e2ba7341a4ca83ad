"""``crate evaluate --parts`` from annotated images to tables and files."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def birds(tmp_path):
    """Eight grey pictures of four species, each with a white eye somewhere and a tail that does not move."""
    folder, records = tmp_path / "birds", {}
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(8):
        x, y = (int(place) for place in generator.integers(4, 28, 2))
        pixels = np.full((32, 40, 3), 90, dtype=np.uint8)
        pixels[y - 2 : y + 2, x + 2 : x + 6] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        records[str(number)] = {
            "width": 40, "height": 32, "class": f"species {number % 4}", "boxes": {"bird": [4, 0, 36, 32]},
            "points": {"eye": [x + 4, y], "tail": [8, 28]},
        }  # fmt: skip
    (folder / "index.json").write_text(json.dumps(records))
    return folder


def test_heads_and_parts_are_written_and_other_results_kept(crate, refused, trained, birds, tmp_path):
    output = tmp_path / "parts.json"
    options = ("--parts", birds, "--size", "32", "--output", output)
    ran = crate("evaluate", trained, *options, "--baseline", trained)
    assert ran.code == 0, ran.err
    for text in ("birds: pointing accuracy", "a head marks, above every control", "consistency"):
        assert text in ran.out
    found = json.loads(output.read_text())["parts"]["birds"]
    assert found["measures"]["tail"]["rows"]["position_prior"]["mean"] == 1.0
    rows = found["measures"]["eye"]["rows"]
    assert rows.keys() == {"model", "untrained", "baseline", "position_prior", "shuffled"}
    assert rows["baseline"] == rows["model"]  # the same weights
    assert "Parts: birds" in output.with_suffix(".html").read_text()
    (birds.parent / "others").mkdir()
    assert "made from something else" in refused("evaluate", trained, "--parts", birds.parent / "others", *options[2:])
    assert "--baseline is a control of --parts" in refused("evaluate", trained, "--baseline", trained)
    assert "leave --data and --boxes out" in refused("evaluate", trained, *options, "--data", birds)
    options = ("--output", tmp_path / "new.json")
    message = refused("evaluate", trained, "--parts", birds.parent / "others", *options)
    assert "is not a data set of parts: it needs images/ and index.json" in message
