"""Figures show what they were given, at every edge case, and nothing in them collides."""

import io
import itertools
from functools import partial

import matplotlib
import numpy as np
import pytest
from made_results import MASK, components, cuts, heats, pictures
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_hex
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from crate_transformer import reports
from crate_transformer.evaluation import MaskScore, SegmentationReport
from crate_transformer.inspection import LayerwiseObjective, subspace_geometry
from crate_transformer.models import build_model
from crate_transformer.reports.style import COLOURS, CONTROL_GREY, DPI, WIDTH


def objective(images: int = 5, layers: int = 4) -> LayerwiseObjective:
    return LayerwiseObjective(
        layers=tuple(range(layers)),
        epsilon_squared=0.01,
        subspace_rate=100 * heats(images, layers),
        nonzero=heats(images, layers),
        untrained_subspace_rate=100 * heats(images, layers),
        untrained_nonzero=heats(images, layers),
    )


def segmentation(*models: str) -> SegmentationReport:
    rows = [m + end for m in models for end in ("", "_untrained", "_shuffled", "_centred", "_untrained_centred")]
    rows += ["mean_mask_prior", "brightness", "contrast", "median_difference"]
    layers = {m + end: np.linspace(0.45, 0.8, 3) for m in models for end in ("", "_untrained")}
    return SegmentationReport(
        models=models,
        auc={row: MaskScore(per_image=0.3 + 0.6 * heats(9).astype(float)) for row in rows},
        miou={row: MaskScore(per_image=0.4 * heats(9).astype(float)) for row in rows},
        layer_auc=layers,
        layer_heads=dict.fromkeys(layers, (0, 0, 0)),
        selection_auc=dict.fromkeys(layers, np.full((3, 1), 0.5)),
        num_selection=9,
        num_reported=9,
        num_dropped=0,
        input_size=(24, 24),
        grid=(6, 6),
    )


def geometry(family: str = "crate", **changes: int):
    options = {
        "img_size": 16,
        "patch_size": 8,
        "embed_dim": 12,
        "depth": 12,
        "num_heads": 3,
        "num_classes": 2,
    } | changes
    return subspace_geometry(build_model(f"{family}_tiny_patch16_224", **options))


RECORDS = [{"step": 50 * i, "loss": 2.3 / i} for i in range(1, 5)]


ZERO = np.zeros((1, 1, 3, 5), dtype=np.float32)


LONG = "a very long class name\nbut the model says something else"


DRAWINGS = {
    "layerwise": lambda: reports.layerwise_figure({"CRATE": objective(), "ViT": objective()}),
    "layerwise, checkpoints with long names": lambda: reports.layerwise_figure(
        {f"crate_mini_patch8_64.tiny_imagenet_10{i}": objective() for i in range(3)}
    ),
    "layerwise, seven checkpoints": lambda: reports.layerwise_figure(
        {f"runs/epoch-{i}": objective() for i in range(7)}
    ),
    "layerwise, one image, one layer": lambda: reports.layerwise_figure({"CRATE": objective(1, 1)}),
    "attention": lambda: reports.attention_figure(
        pictures(3),
        {"CRATE, layer 5, head 2": heats(3, 6, 6), "ViT, layer 3, head 0": heats(3, 4, 4), "untrained": heats(3, 6, 6)},
        np.stack([MASK] * 3),
        [LONG, "2", "3"],
    ),
    "attention, one wide picture": lambda: reports.attention_figure(pictures(1, 20, 60), {"m": ZERO[0]}),
    "attention, one high picture": lambda: reports.attention_figure(
        pictures(1, 90, 30), {"m": heats(1, 9, 3)}, titles=[LONG]
    ),
    "heads": lambda: reports.heads_figure(pictures(8), heats(8, 4, 6, 6)),
    "heads, one head, zero map": lambda: reports.heads_figure(pictures(1, 24, 40), ZERO, "one", ["only\nhead"]),
    "layers": lambda: reports.layers_figure(pictures(1)[0], heats(12, 12, 4, 4)),
    "layers, one": lambda: reports.layers_figure(pictures(1, 9, 15)[0], ZERO, layers=[11]),
    "reconstruction": lambda: reports.reconstruction_figure(
        pictures(3), heats(3, 6, 6) > 0.25, pictures(3), ["tench", LONG, "hen"]
    ),
    "reconstruction, one wide picture": lambda: reports.reconstruction_figure(
        pictures(1, 20, 60), np.ones((1, 1, 3), dtype=bool), pictures(1, 20, 60)
    ),
    "mask": lambda: reports.mask_figure(pictures(1)[0], MASK, "60% of the attention of a head, " * 5),
    "mask, empty, other resolution": lambda: reports.mask_figure(pictures(1, 30, 20)[0], MASK[:3, :2]),
    "mask, full": lambda: reports.mask_figure(pictures(1)[0], np.ones((2, 2), dtype=bool)),
    "maskcut": lambda: reports.maskcut_figure(pictures(3), cuts(3), ["one", LONG, "three"]),
    "maskcut, one high picture, one object": lambda: reports.maskcut_figure(pictures(1, 60, 20), cuts(1, 1, 9, 3)),
    "maskcut, six objects": lambda: reports.maskcut_figure(pictures(2, 20, 30), cuts(2, 6)),
    "pca": lambda: reports.pca_figure(pictures(8), components(8), [f"{i:06d}" for i in range(8)]),
    "pca, one wide picture with background": lambda: reports.pca_figure(
        pictures(1, 20, 60), components(1, 1, 3, removed=False)
    ),
    "subspaces": lambda: reports.subspaces_figure(geometry()),
    "subspaces, two dictionaries": lambda: reports.subspaces_figure(geometry("crate_alpha")),
    "subspaces, one layer, one head": lambda: reports.subspaces_figure(geometry(depth=1, num_heads=1)),
    "subspaces, no dictionary": lambda: reports.subspaces_figure(geometry("tost")),
    "gram": lambda: reports.gram_figure(geometry()),
    "gram, one layer": lambda: reports.gram_figure(geometry(depth=1, num_heads=1)),
    "gram, six layers": lambda: reports.gram_figure(geometry(), range(6)),
    "scores": lambda: reports.scores_figure(segmentation("crate", "vit"), {"crate": "CRATE", "vit": "ViT"}),
    "scores, one model": lambda: reports.scores_figure(segmentation("crate")),
    "layer scores": lambda: reports.layer_scores_figure(segmentation("crate", "vit")),
    "training": lambda: reports.training_figure({"CRATE": [*RECORDS, {"step": 200, "top1": 0.9}], "ViT": RECORDS}),
    "training, one record": lambda: reports.training_figure({"CRATE": RECORDS[:1]}),
    "samples": lambda: reports.samples_figure(pictures(11), [f"{i} (says 8)" for i in range(11)], title="Test set"),
    "samples, a mere line": lambda: reports.samples_figure(pictures(1, 2, 400), ["line"], MASK[None]),
    "samples, one with mask": lambda: reports.samples_figure(pictures(1), ["golden retriever"], MASK[None]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_collides_and_it_fits_the_page(name: str, monkeypatch) -> None:
    drawn: dict[Text, Bbox] = {}
    draw = Text.draw

    def draw_and_note(text: Text, renderer: RendererBase, *args: object, **kwargs: object) -> None:
        draw(text, renderer, *args, **kwargs)
        if text.get_visible() and text.get_text().strip():
            drawn[text] = text.get_window_extent(renderer)

    figure = DRAWINGS[name]()
    monkeypatch.setattr(Text, "draw", draw_and_note)
    figure.savefig(io.BytesIO(), format="png", dpi=72)
    right = 72 * figure.get_size_inches()[0]
    assert right <= 72 * WIDTH + 1e-6
    assert len(drawn) >= 1 or "mask" in name
    for text, box in drawn.items():
        assert text.get_fontsize() >= 8.5
        assert -1 < box.x0 < box.x1 < right + 1, text.get_text()
    for (first, box), (second, other) in itertools.combinations(drawn.items(), 2):
        assert not box.overlaps(other), f"{first.get_text()!r} lies on {second.get_text()!r}"


def test_layerwise_curves_are_the_means() -> None:
    given = {"CRATE": objective(), "ViT": objective()}
    figure = reports.layerwise_figure(given)
    for axes, quantity in zip(figure.axes, ("subspace_rate", "nonzero"), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for (name, values), colour in zip(given.items(), COLOURS, strict=False):
            trained, untrained = lines[name], lines[f"{name}, untrained"]
            np.testing.assert_allclose(trained.get_ydata(), getattr(values, quantity).mean(0))
            np.testing.assert_allclose(untrained.get_ydata(), getattr(values, f"untrained_{quantity}").mean(0))
            assert (trained.get_linestyle(), untrained.get_linestyle()) == ("-", "--")
            assert to_hex(trained.get_color()).upper() == to_hex(untrained.get_color()).upper() == colour
        band = axes.collections[0].get_paths()[0].vertices
        mean, spread = (f(getattr(given["CRATE"], quantity)) for f in (partial(np.mean, axis=0), sample_deviation))
        assert band[:, 1].max() == pytest.approx((mean + spread).max(), rel=1e-5)


def sample_deviation(values: np.ndarray) -> np.ndarray:
    return np.sqrt(((values - values.mean(0)) ** 2).sum(0) / (len(values) - 1))


def test_score_bars_start_at_chance_and_stand_out_from_the_controls() -> None:
    report = segmentation("crate", "vit")
    auc, miou = reports.scores_figure(report).axes
    assert len(auc.patches) == len(report.auc) == 14
    bars = dict(zip((label.get_text() for label in auc.get_yticklabels()), auc.patches, strict=True))
    bar = bars["crate, trained"]
    assert (bar.get_x(), bar.get_width()) == (0.5, pytest.approx(report.auc["crate"].mean - 0.5))
    assert bars["brightness"].get_width() == pytest.approx(report.auc["brightness"].mean - 0.5)
    assert miou.patches[-1].get_width() == pytest.approx(report.miou["vit_untrained_centred"].mean)
    coloured = {name for name, bar in bars.items() if to_hex(bar.get_facecolor()).upper() != CONTROL_GREY}
    assert coloured == {"crate, trained", "vit, trained", "crate, centred", "vit, centred"}
    shown = {text.get_text() for text in auc.texts}
    assert shown == {f"{score.mean:.3f}" for score in report.auc.values()}


def test_training_shows_every_loss_and_names_a_run_without_one() -> None:
    (axes,) = reports.training_figure({"CRATE": [*RECORDS, {"step": 200, "top1": 0.9}]}).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(r["step"], r["loss"]) for r in RECORDS])
    with pytest.raises(ValueError, match="ViT contain no loss"):
        reports.training_figure({"CRATE": RECORDS, "ViT": [{"step": 3, "top1": 0.1}]})
    with pytest.raises(ValueError, match="not 0"):
        reports.training_figure({})


def test_subspace_curves_are_the_measurements_with_their_control() -> None:
    given = geometry("crate_alpha")
    figure = reports.subspaces_figure(given)
    coherence, rank, angles, mean, *_ = figure.axes
    for panel, trained, untrained in (
        (coherence, given.trained.within, given.untrained.within),
        (rank, given.trained.effective_rank.mean(1) / 4, given.untrained.effective_rank.mean(1) / 4),
        (mean, *(g.dictionaries["dictionary"].mean_coherence for g in (given.trained, given.untrained))),
    ):
        np.testing.assert_allclose(panel.lines[0].get_ydata(), trained)
        np.testing.assert_allclose(panel.lines[1].get_ydata(), untrained)
        assert [line.get_linestyle() for line in panel.lines[:2]] == ["-", "--"]
    pairs = [given.trained.angles[:, a, b, 0] for a, b in itertools.combinations(range(3), 2)]
    np.testing.assert_allclose(angles.lines[0].get_ydata(), np.rad2deg(pairs).mean(0))
    for layers in ([12], [], list(range(7))):
        with pytest.raises(ValueError, match="one to six of 0 to 11"):
            reports.gram_figure(given, layers)
    above = reports.gram_figure(given, [3]).axes[0].images[0].get_array()
    np.testing.assert_array_equal(above, given.trained.gram[3])


def test_saving_is_deterministic_and_ignores_the_users_settings(tmp_path) -> None:
    first = reports.save_figure(DRAWINGS["training, one record"](), tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        second = reports.save_figure(DRAWINGS["training, one record"](), tmp_path / "b.png").read_bytes()
        assert dict(matplotlib.rcParams) == before
    assert first == second
    assert b"matplotlib" not in first.lower()


def test_pdf_by_suffix_and_no_other(tmp_path) -> None:
    figure = DRAWINGS["training"]()
    contents = [reports.save_figure(figure, tmp_path / f"{name}.pdf").read_bytes() for name in "ab"]
    assert contents[0].startswith(b"%PDF")
    assert contents[0] == contents[1]
    with pytest.raises(ValueError, match=r"'\.jpg'.*\.png, \.pdf"):
        reports.save_figure(figure, tmp_path / "c.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


def test_resolution_is_written_into_the_file(tmp_path) -> None:
    from PIL import Image

    with Image.open(reports.save_figure(DRAWINGS["training"](), tmp_path / "a.png")) as image:
        assert image.info["dpi"][0] == pytest.approx(DPI, abs=0.1)
        assert image.width <= 1.03 * WIDTH * DPI
