"""Top-1 and top-5 accuracy with known answers."""

import pytest
import torch
from torch import nn

from crate_transformer.evaluation import Accuracy, accuracy


class Repeat(nn.Module):
    """Gives its input back as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return images * self.scale


def test_known_ranks():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]]).expand(7, -1)
    model = Repeat()
    loader = [(logits[:4], torch.arange(4)), (logits[4:], torch.arange(4, 7))]
    assert accuracy(model, loader) == Accuracy(top1=1 / 7, top5=5 / 7, count=7)
    assert model.training


def test_fewer_than_five_classes():
    logits = torch.eye(3)
    assert accuracy(Repeat(), [(logits, torch.tensor([0, 1, 0]))]) == Accuracy(top1=2 / 3, top5=1.0, count=3)


def test_a_label_without_class_and_no_images_are_refused():
    with pytest.raises(ValueError, match="label 3, but the model has 3 classes"):
        accuracy(Repeat(), [(torch.eye(3), torch.tensor([0, 1, 3]))])
    with pytest.raises(ValueError, match="at least one image"):
        accuracy(Repeat(), [])
