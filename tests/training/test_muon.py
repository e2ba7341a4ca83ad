"""Muon: PyTorch's own where that is exact, and nearer to the iteration where PyTorch rounds."""

import copy

import pytest
import torch
from torch import nn

from crate_transformer.training import muon
from crate_transformer.training.muon import Muon, orthogonalised

SHAPES = [(12, 12), (30, 12), (12, 30), (12, 12), (1, 7)]
SETTINGS = {"lr": 0.02, "weight_decay": 0.3}


def matrices():
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def steps_of(optimizer, parameters, gradients):
    """What each round of gradients adds to each parameter, beyond its decay."""
    moved = []
    for round_of_gradients in gradients:
        for parameter, gradient in zip(parameters, round_of_gradients, strict=True):
            parameter.grad = gradient
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step()
        decay = 1 - SETTINGS["lr"] * SETTINGS["weight_decay"]
        moved += [new.detach() - decay * old for old, new in zip(before, parameters, strict=True)]
    return moved


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("products", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("at_once", [1, 300, 2**24])
def test_its_steps_are_those_of_pytorch(products, at_once, monkeypatch):
    monkeypatch.setattr(muon, "AT_ONCE", at_once)
    ours = matrices()
    theirs = copy.deepcopy(ours)
    gradients = [[torch.randn(shape) for shape in SHAPES] for _ in range(4)]
    gradients[1][0] = torch.zeros(12, 12)
    gradients[2][3] = None
    expected = steps_of(torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **SETTINGS), theirs, gradients)
    found = steps_of(Muon(ours, products=products, **SETTINGS), ours, gradients)
    for mine, right in zip(found, expected, strict=True):
        # in bf16 another order of sums may round differently; beside float32, fifteen products in a row round to bf16,
        # each relative to the largest of singular values that the step then multiplies by up to 3.4445
        spacings = 4 if products == torch.bfloat16 else 24
        assert (mine - right).norm() <= spacings * torch.finfo(torch.bfloat16).eps * right.norm() + 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32_it_is_the_iteration_of_the_paper(shape):
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = left * values @ right
    torch.testing.assert_close(orthogonalised(matrix[None])[0], expected, rtol=0, atol=1e-11)
    # a value that starts at a rounding of float32 is raised by up to 485
    torch.testing.assert_close(orthogonalised(matrix[None].float())[0].double(), expected, rtol=0, atol=485 * 2**-23)


def test_its_state_is_one_matrix_each_and_a_copy_goes_on_from_it():
    ours = matrices()
    optimizer = Muon(ours, **SETTINGS)
    gradients = [[torch.randn(shape) for shape in SHAPES] for _ in range(2)]
    steps_of(optimizer, ours, gradients[:1])
    state = optimizer.state_dict()
    for index, shape in enumerate(SHAPES):
        (kept,) = state["state"][index].items()
        assert kept[0] == "momentum_buffer" and type(kept[1]) is torch.Tensor and kept[1].shape == shape
    twins = copy.deepcopy(ours)
    other = Muon(twins, **SETTINGS)
    other.load_state_dict(copy.deepcopy(state))
    for mine, theirs in zip(
        steps_of(optimizer, ours, gradients[1:]), steps_of(other, twins, gradients[1:]), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_closure_runs_first_with_gradients():
    (parameter,) = parameters = [nn.Parameter(torch.eye(3))]
    optimizer = Muon(parameters, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 3
    assert parameter.detach().diagonal().max() < 1


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"Muon moves matrices, and one parameter has the shape \(3,\)"):
        Muon([nn.Parameter(torch.ones(3))], lr=0.1)
