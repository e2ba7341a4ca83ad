"""MaskCut against the golden results of its released rules, and against a dense solver."""

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.numpy import load_file
from scipy.sparse.linalg import ArpackError

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import normalise
from crate_transformer.inspection import cut_objects, maskcut, patch_features
from crate_transformer.inspection.ncut import normalised_cut
from crate_transformer.models import build_model

GOLDEN = ("blobs", "maskcut_crate", "maskcut_crate_rejections", "maskcut_crate_return")
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}


@pytest.fixture(params=["iterative", "dense"])
def solver(request, monkeypatch):
    """The fast solver even for small graphs, and the dense one even for large ones."""
    monkeypatch.setattr("crate_transformer.inspection.ncut._DENSE", {"iterative": 8, "dense": 10_000}[request.param])
    return request.param


def affinity(edges, alive):
    return np.where(np.outer(alive, alive) & edges, 1.0, 1e-5)


def second_eigenvector(edges, alive):
    """The literal problem, with the largest entry positive."""
    matrix = affinity(edges, alive)
    degree = np.diag(matrix.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degree - matrix, degree, subset_by_index=[1, 1])
    vector = vectors[:, 0]
    return float(values[0]), vector * np.sign(vector[np.abs(vector).argmax()])


def clusters(patches=150, groups=4, noise=0.6, seed=0):
    """A random graph whose patches hang together in groups."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((groups, 24))[random.integers(0, groups, patches)]
    features = features + noise * random.standard_normal((patches, 24))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features @ features.T > 0.15


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_masks_are_identical(shared, solver, name):
    golden = load_file(shared / "golden" / "maskcut" / f"{name}.safetensors")
    cuts = cut_objects(golden["features"].T.reshape(24, 24, -1))
    for step in range(3):
        np.testing.assert_array_equal(cuts.masks[step], golden[f"step{step}.grid_mask"].astype(bool))
        assert cuts.eigenvalues[step] == pytest.approx(golden[f"step{step}.eigenvalues"][1], abs=1e-9)
        found = np.abs(cuts.eigenvectors[step].ravel())
        np.testing.assert_allclose(found, golden[f"step{step}.eigenvector_abs"], atol=1e-6)
    expected = {
        "maskcut_crate_rejections": ("accepted", "accepted", "small"),
        "maskcut_crate_return": ("accepted", "overlap", "accepted"),
    }
    assert cuts.statuses == expected.get(name, ("accepted",) * 3)


def test_golden_pictures_in_pixels_from_the_checkpoint(shared):
    folder = shared / "golden" / "maskcut"
    golden = load_file(folder / "maskcut_crate.safetensors")
    model = load_checkpoint(folder / "maskcut_crate.pth", num_heads=6)
    pixels = torch.from_numpy(golden["image_uint8"]).permute(2, 0, 1)[None].contiguous()
    images = normalise(pixels, model.preprocessing)
    seen = patch_features(model, images)
    np.testing.assert_allclose(seen.features[0].reshape(576, -1), golden["features"].T, atol=1e-5)
    found = maskcut(model, images)
    assert (found.layer, found.tau, found.patch_size) == (1, 0.15, (8, 8))
    for step, mask in enumerate(found.image_masks(0)):
        assert (mask != golden[f"step{step}.mask"].astype(bool)).mean() < 0.01
    assert found.image_masks(0, (50, 70)).shape == (3, 50, 70)


@pytest.mark.parametrize("noise", [0.1, 0.6, 1.5])
def test_the_fast_solver_agrees_with_the_literal_problem(solver, noise):
    edges = clusters(noise=noise)
    alive = np.ones(len(edges), dtype=bool)
    for dead in (0, 20, 60):
        alive[:dead] = False
        cut = normalised_cut(edges, alive)
        value, vector = second_eigenvector(edges, alive)
        assert cut.error < 1e-9
        assert cut.eigenvalue == pytest.approx(value, abs=1e-9)
        np.testing.assert_allclose(cut.vector, vector, atol=1e-6)
        np.testing.assert_array_equal(cut.above, vector > vector.mean())
        matrix = affinity(edges, alive)
        assert cut.vector @ (matrix.sum(axis=1) * cut.vector) == pytest.approx(1, abs=1e-9)


def test_loose_patches_and_separate_groups_are_resolved(solver):
    edges = np.kron(np.eye(5), np.ones((20, 20))) > 0
    edges[80:, 80:] = np.eye(20) > 0
    edges[:40, :40] = True
    alive = np.ones(100, dtype=bool)
    value, vector = second_eigenvector(edges, alive)
    cut = normalised_cut(edges, alive)
    assert cut.eigenvalue == pytest.approx(value, abs=1e-11)
    np.testing.assert_allclose(cut.vector, vector, atol=1e-6)


def test_what_does_not_converge_is_left_to_the_dense_solver(monkeypatch):
    def fail(*args, **options):
        raise ArpackError(-9999)

    monkeypatch.setattr("crate_transformer.inspection.ncut.eigsh", fail)
    edges, alive = clusters(noise=1.5), np.ones(150, dtype=bool)
    np.testing.assert_allclose(normalised_cut(edges, alive).vector, second_eigenvector(edges, alive)[1], atol=1e-9)


def test_a_cut_that_is_one_of_several_has_a_large_error(solver):
    edges = np.kron(np.eye(4), np.ones((25, 25))) > 0
    assert normalised_cut(edges, np.ones(100, dtype=bool)).error > 1e-3


@pytest.mark.parametrize("patches", [1, 2, 3, 100])
def test_patches_that_are_all_alike_cannot_be_cut(solver, patches):
    everyone = np.ones(patches, dtype=bool)
    assert normalised_cut(np.ones((patches, patches), dtype=bool), everyone) is None
    assert normalised_cut(np.eye(patches, dtype=bool), ~everyone) is None
    cuts = cut_objects(np.ones((1, patches, 5), dtype=np.float32))
    assert cuts.statuses == ("uncut",) * 3
    assert not cuts.masks.any()
    assert np.isfinite(cuts.eigenvectors).all()


def test_objects_on_a_grid_that_is_not_square(solver):
    features = np.zeros((8, 20, 3), dtype=np.float32)
    features[..., 0] = 1
    features[2:5, 3:9] = [0, 1, 0]
    features[4:7, 12:15] = [0, 0, 1]
    cuts = cut_objects(features, num_masks=2)
    assert cuts.statuses == ("accepted", "accepted")
    boxes = {tuple(int(x) for x in (*np.argwhere(m).min(0), *np.argwhere(m).max(0))) for m in cuts.masks}
    assert boxes == {(2, 3, 4, 8), (4, 12, 6, 14)}
    for mask, seed, vector in zip(cuts.masks, cuts.seeds, cuts.eigenvectors, strict=True):
        assert mask[tuple(seed)]
        assert vector[mask].min() > vector[~mask].mean()


def test_masks_never_overlap_and_empty_ones_say_why():
    random = np.random.default_rng(3)
    statuses = set()
    for _ in range(6):
        features = random.standard_normal((4, 4, 6)).repeat(3, axis=0).repeat(3, axis=1)
        cuts = cut_objects(features + 0.4 * random.standard_normal(features.shape), num_masks=5)
        assert cuts.masks.sum(axis=0).max() <= 1
        assert [status == "accepted" for status in cuts.statuses] == cuts.masks.any(axis=(1, 2)).tolist()
        statuses |= set(cuts.statuses)
    assert len(statuses) > 1


@pytest.mark.parametrize(
    "family",
    ["crate_tiny_patch16_224", "crate_alpha_tiny_patch16_224", "vit_tiny_patch16_224", "tost_tiny_patch16_224"],
)
def test_every_family_has_features_without_prefix_tokens(family):
    registers = {} if family.startswith("tost") else {"reg_tokens": 2}
    options = {**TINY, "patch_size": 8, "img_size": 32} if family.startswith("tost") else TINY
    model = build_model(family, **options, **registers).eval()
    images = torch.randn(3, 3, 32, 64)
    images[1] = 0.3
    found = maskcut(model, images, num_masks=2, layer=1)
    rows, columns = model.grid_size(32, 64)
    assert found.masks.shape == (3, 2, rows, columns)
    assert found.layer == 1
    assert found.statuses[1] == ("blank", "blank")
    assert found.nothing_found[1]
    layer = {"crate": "mssa", "vit": "attn", "tost": "tssa"}[family.split("_")[0]]
    name = f"blocks.1.{layer}.projection"
    taken = []
    handle = model.get_submodule(name).register_forward_hook(lambda _, a, out: taken.append(out.detach()))
    with torch.no_grad():
        model(images)
    handle.remove()
    patches = taken[0][:, :, model.num_prefix_tokens :].permute(0, 2, 1, 3).reshape(3, rows, columns, -1)
    np.testing.assert_allclose(patch_features(model, images, layer=-2).features, patches.numpy(), atol=1e-6)


def test_bad_input_is_named_with_the_remedy():
    model = build_model("crate_tiny_patch16_224", **TINY)
    images = torch.randn(2, 3, 16, 16)
    for layer in (3, -4):
        with pytest.raises(ValueError, match=f"no layer {layer}.*layers 0 to 2"):
            maskcut(model, images, layer=layer)
    for tau in (-0.1, 1.0):
        with pytest.raises(ValueError, match="tau is"):
            maskcut(model, images, tau=tau)
    with pytest.raises(ValueError, match="num_masks is 0"):
        maskcut(model, images, num_masks=0)
    with pytest.raises(ValueError, match="at least one image"):
        maskcut(model, images[:0])
    with pytest.raises(ValueError, match="not finite"):
        maskcut(model, images * float("nan"))
    with pytest.raises(ValueError, match="Sequential cannot be read"):
        maskcut(torch.nn.Sequential(torch.nn.Linear(3, 3)), images)
