"""Every sentence, where a phenomenon is there and where it is not."""

import numpy as np
import pytest
import torch

from crate_transformer.evaluation import SegmentationReport
from crate_transformer.evaluation.scores import MaskScore
from crate_transformer.inspection import HeadSummary, LayerwiseObjective, layerwise_objective, untrained_twin
from crate_transformer.inspection import head_summary as inspect_heads
from crate_transformer.models import build_model
from crate_transformer.recipes import findings


def spread(mean, count=50, seed=0):
    """Values with this mean and a standard deviation of .01."""
    noise = np.random.default_rng(seed).normal(size=count)
    return mean + 0.01 * (noise - noise.mean()) / noise.std()


def objective(rates, nonzero, untrained_rates, untrained_nonzero):
    arrays = (
        np.stack([spread(value, seed=i) for value in values], axis=1)
        for i, values in enumerate((rates, nonzero, untrained_rates, untrained_nonzero))
    )
    names = ("subspace_rate", "nonzero", "untrained_subspace_rate", "untrained_nonzero")
    return LayerwiseObjective(layers=(0, 1, 2), epsilon_squared=0.01, **dict(zip(names, arrays, strict=True)))


@pytest.mark.parametrize(
    ("rates", "untrained", "seen"),
    [
        ((4, 3, 1), [(4, 4, 4), (4, 4, 3)], True),
        ((4, 3, 1), [(4, 4, 4), (4, 2, 1)], False),
        ((4, 4, 5), [(4, 4, 6), (4, 4, 7)], False),
    ],
)
def test_compression(rates, untrained, seen):
    finding = findings.compression([objective(rates, (0.5,) * 3, other, (0.5,) * 3) for other in untrained])
    assert finding.seen is seen
    start = "Seen here" if seen else "Not seen at this scale"
    shares = [other[2] / other[0] for other in untrained]
    assert finding.sentence == (
        f"{start}: R^c of the last layer is {rates[2] / rates[0]:.0%} of that of the first, each layer measured in its "
        f"own subspaces; in 2 untrained models it is {min(shares):.0%} to {max(shares):.0%}."
    )


@pytest.mark.parametrize(
    ("nonzero", "seen", "layer", "least"),
    [
        ((0.6, 0.3, 0.4), True, 1, "30%"),
        ((0.6, 0.7, 0.55), False, 2, "55%"),
        ((0.47, 0.6, 0.6), False, 0, "47%"),
    ],
)
def test_sparsification(nonzero, seen, layer, least):
    untrained = [(0.5, 0.5, 0.6), (0.7, 0.6, 0.6)]
    finding = findings.sparsification([objective((1,) * 3, nonzero, (1,) * 3, other) for other in untrained])
    assert finding.seen is seen
    start = "Seen here" if seen else "Not seen at this scale"
    assert finding.sentence == (
        f"{start}: in the sparsest layer, {layer}, {least} of the entries are non-zero; "
        "in the sparsest layers of 2 untrained models, 50% to 60%."
    )


@pytest.mark.usefixtures("unchecked")
def test_untrained_models_show_nothing_beside_untrained_ones():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    model = build_model("crate_micro_patch4_32", num_classes=10)
    for seed in range(2):
        model = untrained_twin(model, seed + 100)
        twins = [untrained_twin(model, other) for other in range(3)]
        measured = [layerwise_objective(model, images, untrained=twin) for twin in twins]
        heads = [inspect_heads(model, images, untrained=twin) for twin in twins]
        assert not findings.compression(measured).seen
        assert not findings.sparsification(measured).seen
        assert not findings.semantic_heads(heads).seen


@pytest.mark.parametrize(("vit", "seen"), [(0.6, True), (0.6999, False), (0.8, False)])
def test_comparison_of_two_models(vit, seen):
    finding = findings.comparison(segmentation_report(vit=vit), "crate", "vit", {"crate": "CRATE", "vit": "ViT"})
    assert finding.seen is seen
    assert f"{0.7 - vit:+.3f}" in finding.sentence


def segmentation_report(**means):
    defaults = dict.fromkeys(
        ("crate_untrained", "crate_shuffled", "mean_mask_prior", "brightness", "contrast", "median_difference"), 0.5
    )
    auc = {
        row: MaskScore(per_image=spread(mean, seed=seed), layer=4, head=2)
        for seed, (row, mean) in enumerate(({"crate": 0.7} | defaults | means).items())
    }
    counts = {"num_selection": 50, "num_reported": 50, "num_dropped": 0, "input_size": (32, 32), "grid": (8, 8)}
    return SegmentationReport(
        models=("crate",), auc=auc, miou=auc, layer_auc={}, layer_heads={}, selection_auc={}, **counts
    )


def test_segmentation_seen():
    finding = findings.segmentation(segmentation_report(), "crate", "CRATE")
    assert finding.seen and finding.phenomenon == "Segmentation emerges in CRATE"
    assert finding.sentence == (
        "Seen here: layer 4, head 2 segments the objects with an AUC of 0.700 (untrained 0.500, shuffled 0.500, "
        "mean mask prior 0.500, brightness 0.500, contrast 0.500, median difference 0.500)."
    )


def test_segmentation_that_a_control_explains():
    report = segmentation_report(brightness=0.72, mean_mask_prior=0.7001, contrast=0.6)
    finding = findings.segmentation(report, "crate", "CRATE")
    assert not finding.seen
    assert finding.sentence.startswith(
        "Not seen at this scale: layer 4, head 2 segments the objects with an AUC of 0.700 ("
    )
    assert finding.sentence.endswith("; not clearly above mean mask prior, brightness.")


def test_the_bundled_model_is_judged_on_every_set():
    sets = {
        "pets": segmentation_report().to_dict(),
        "horses": segmentation_report(brightness=0.71).to_dict(),
        "mine": segmentation_report().to_dict(),
    }
    for scores in sets.values():  # as they are stored: of one model, called "model"
        scores["auc"] = {key.replace("crate", "model"): value for key, value in scores["auc"].items()}
        beaten = {key.replace("crate", "model"): above for key, above in scores["beats"]["crate"]["auc"].items()}
        scores["beats"] = {"model": {"auc": beaten}}
    finding = findings.bundled_segmentation({"sets": sets})
    assert "bundled model" in finding.phenomenon and finding.seen
    assert finding.sentence.startswith("Seen here: on 2 of 3 sets of photographs")
    assert "horses 0.700 (brightness 0.710), not clearly above brightness;" in finding.sentence
    del sets["mine"]
    assert not findings.bundled_segmentation({"sets": sets}).seen


def head_summary(consistency, shuffled, untrained):
    arrays = (np.array(values) for values in (consistency, shuffled, untrained))
    names = ("consistency", "shuffled_consistency", "untrained_consistency")
    entropy, mean_map = np.ones(len(consistency)), np.ones((len(consistency), 2, 2))
    return HeadSummary(layer=3, entropy=entropy, mean_map=mean_map, **dict(zip(names, arrays, strict=True)))


@pytest.mark.parametrize(
    ("consistency", "words"),
    [
        ((0.3, 0.34, 0.32), "Not seen at this scale: of 3 heads in layer 3, none exceed both controls by more"),
        ((0.5, 0.34, 0.3), "Seen here: of 3 heads in layer 3, heads 0 exceed both controls by more"),
        ((0.5, 0.34, 0.6), "Seen here: of 3 heads in layer 3, heads 0, 2 exceed both controls by more"),
    ],
)
def test_heads_beside_every_untrained_head(consistency, words):
    shuffled = (0.1, 0.2, 0.3)
    finding = findings.semantic_heads(
        [head_summary(consistency, shuffled, untrained) for untrained in ((0.2, 0.1, 0.1), (0.1, 0.1, 0.3))]
    )
    assert finding.seen is words.startswith("Seen")
    assert finding.sentence.startswith(words)
    shown = " ".join(f"{value:.2f}" for value in consistency)
    assert f"(consistency {shown}; shuffled maps 0.10 0.20 0.30; 2 untrained models at most 0.30)" in finding.sentence
