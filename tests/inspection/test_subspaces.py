"""The geometry of subspaces and dictionaries, against loops and matrices with known answers."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from crate_transformer.inspection import subspace_geometry
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 4}


def effective_rank(matrix):
    s = np.linalg.svd(matrix, compute_uv=False)
    p = s / s.sum()
    return np.exp(-(p * np.log(p)).sum())


def cosine(a, b):
    return abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("family", ["crate_tiny_patch16_224", "crate_alpha_tiny_patch16_224"])
def test_every_number_against_a_loop(family):
    model, twin = build_model(family, **TINY), build_model(family, **TINY)
    found = subspace_geometry(model, untrained=twin, directions=2)
    for measured, judged in ((found.trained, model), (found.untrained, twin)):
        for layer, block in enumerate(judged.blocks):
            joint = block.mssa.subspaces.weight.detach().double().numpy().T
            heads = np.split(joint, 3, axis=1)
            assert measured.joint_rank[layer] == pytest.approx(effective_rank(joint))
            for a, b in itertools.product(range(3), range(3)):
                pairs = [(i, j) for i in range(4) for j in range(4) if a != b or i != j]
                mean = np.mean([cosine(heads[a][:, i], heads[b][:, j]) for i, j in pairs])
                assert measured.coherence[layer, a, b] == pytest.approx(mean)
                if a != b:
                    angles = np.sort(scipy.linalg.subspace_angles(heads[a], heads[b]))
                    np.testing.assert_allclose(measured.angles[layer, a, b], angles, atol=1e-7)
            for head, matrix in enumerate(heads):
                assert measured.effective_rank[layer, head] == pytest.approx(effective_rank(matrix))
            assert measured.within[layer] == pytest.approx(np.mean([measured.coherence[layer, k, k] for k in range(3)]))
            beside = [measured.coherence[layer, a, b] for a, b in itertools.permutations(range(3), 2)]
            assert measured.across[layer] == pytest.approx(np.mean(beside))
            for name, geometry in measured.dictionaries.items():
                step = block.ista if hasattr(block, "ista") else block.odl
                atoms = getattr(step, name).detach().double().numpy()
                values = [cosine(a, b) for a, b in itertools.combinations(atoms.T, 2)]
                assert geometry.mean_coherence[layer] == pytest.approx(np.mean(values))
                assert geometry.max_coherence[layer] == pytest.approx(np.max(values))
                assert geometry.effective_rank[layer] == pytest.approx(effective_rank(atoms))
                gap = np.linalg.norm(atoms.T @ atoms - np.eye(atoms.shape[1])) / atoms.shape[1] ** 0.5
                assert geometry.gram_distance[layer] == pytest.approx(gap)
                polar, _ = scipy.linalg.polar(atoms)
                scale = (polar * atoms).sum() / (atoms**2).sum()
                distance = np.linalg.norm(scale * atoms - polar) / np.linalg.norm(polar)
                assert geometry.frame_distance[layer] == pytest.approx(distance)
    names = {"crate_tiny_patch16_224": {"dictionary"}}.get(family, {"dictionary", "decoupled_dictionary"})
    assert set(found.trained.dictionaries) == names


def test_layers_that_share_weights_are_measured_one_by_one():
    shared = subspace_geometry(build_model("crate_tiny_patch16_224", **TINY | {"depth": 4}, recurrences=2)).trained
    for measured in (shared.gram, shared.angles, shared.joint_rank, shared.dictionaries["dictionary"].effective_rank):
        assert len(measured) == 4
        np.testing.assert_array_equal(measured[0], measured[1])
        assert not np.array_equal(measured[1], measured[2])
    few = {"embed_dim": 12, "depth": 3, "num_heads": 3, "img_size": 28, "num_classes": 4, "time_dim": 4}
    model = build_model("hyper_set_512_recurrent_patch14_224", **few, recurrences=3, rank=2, rank_scale=50.0)
    found = subspace_geometry(model).trained
    for layer, block in enumerate(model.blocks):
        joint = (block.attn.subspaces.weight + block.changed()[0]).detach().double().numpy()
        assert found.joint_rank[layer] == pytest.approx(effective_rank(joint), rel=1e-5)
    assert len(set(found.joint_rank)) == 3


def test_orthogonal_and_repeated_subspaces_have_known_values():
    model = build_model("crate_tiny_patch16_224", **TINY)
    orthogonal = torch.linalg.qr(torch.randn(12, 12))[0]
    with torch.no_grad():
        model.blocks[0].mssa.subspaces.weight.copy_(3 * orthogonal)
        model.blocks[0].ista.dictionary.copy_(2 * orthogonal)
        model.blocks[1].mssa.subspaces.weight.copy_(orthogonal[:4].repeat(3, 1))
    found = subspace_geometry(model).trained
    np.testing.assert_allclose(found.coherence[0], 0, atol=1e-6)
    np.testing.assert_allclose(found.effective_rank, 4, rtol=1e-6)
    np.testing.assert_allclose(found.joint_rank, [12, 4], rtol=1e-5)
    assert np.rad2deg(found.angles[0, 0, 1]).min() > 89.9
    assert np.rad2deg(found.angles[1, 0, 1]).max() < 0.1
    assert found.across[1] == pytest.approx(0.25, abs=1e-6)
    dictionary = found.dictionaries["dictionary"]
    assert dictionary.frame_distance[0] < 1e-3
    assert dictionary.gram_distance[0] == pytest.approx(3, rel=1e-5)
    assert dictionary.max_coherence[0] < 1e-5
    assert found.gram.shape == (2, 12, 12)


def test_one_head_no_dictionary_and_dead_weights_stay_finite():
    single = build_model("crate_tiny_patch16_224", **TINY | {"num_heads": 1})
    found = subspace_geometry(single, directions=5).trained
    assert np.isnan(found.across).all()
    assert np.isfinite(found.within).all()
    assert found.gram.shape == (2, 5, 5)
    tost = build_model("tost_tiny_patch16_224", **TINY | {"patch_size": 8})
    assert subspace_geometry(tost).trained.dictionaries == {}
    with torch.no_grad():
        for parameter in single.parameters():
            parameter.zero_()
    dead = subspace_geometry(single).trained
    assert np.isfinite(dead.effective_rank).all()
    assert np.isfinite(dead.dictionaries["dictionary"].frame_distance).all()


def test_bad_input_is_named_with_the_remedy():
    with pytest.raises(ValueError, match="ViT has no subspaces"):
        subspace_geometry(build_model("vit_tiny_patch16_224", **TINY))
    with pytest.raises(ValueError, match="directions is 0"):
        subspace_geometry(build_model("crate_tiny_patch16_224", **TINY), directions=0)
    with pytest.raises(ValueError, match="folded model no longer has its subspaces"):
        subspace_geometry(build_model("crate_tiny_patch16_224", **TINY).fold())
