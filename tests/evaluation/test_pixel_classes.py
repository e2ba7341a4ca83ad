"""mIoU over all pixels against scikit-learn, pixels without a class, and the controls."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import nn

from crate_transformer.data import VOID
from crate_transformer.evaluation.pixel_classes import PixelCounts, class_counts, count_pixels


class Says(nn.Module):
    """Answers with the first channel of an image, as a class."""

    def forward(self, images):
        return nn.functional.one_hot(images[:, 0].long(), 4).movedim(-1, 1).float() + 0 * self.zero

    def __init__(self):
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))


def batches(answers, masks):
    return [
        (a[:, None].float().expand(-1, 3, -1, -1), m) for a, m in zip(answers.split(2), masks.split(2), strict=True)
    ]


@pytest.fixture
def found():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (5, 6, 7), generator=generator).byte()
    answers = torch.where(torch.rand(5, 6, 7, generator=generator) < 0.6, masks, 3 - masks)
    masks[0, :3] = VOID
    return masks, answers


def test_scores_are_those_of_scikit_learn(found):
    masks, answers = found
    prior = class_counts(masks.split(3), 4)
    scores = count_pixels(Says(), batches(answers, masks), prior).scores()
    known = masks != VOID
    expected = jaccard_score(masks[known], answers[known], average=None, labels=range(3))
    np.testing.assert_allclose(scores.per_class[:3], expected)
    assert scores.per_class[3] is None and scores.miou == pytest.approx(expected.mean()) and scores.count == 5
    assert scores.pixel_accuracy == pytest.approx((masks == answers)[known].float().mean().item())
    position = prior.argmax(dim=0).byte().expand(5, -1, -1)
    assert scores.prior_miou == pytest.approx(
        jaccard_score(masks[known], position[known], average="macro", labels=range(3))
    )
    most = torch.full_like(masks, prior.sum(dim=(1, 2)).argmax().item())
    assert scores.majority_miou == pytest.approx(
        jaccard_score(masks[known], most[known], average="macro", labels=range(3), zero_division=0)
    )
    assert "mIoU" in str(scores) and "3 classes on 5 images" in str(scores)


def test_faults_are_named(found):
    masks, answers = found
    prior = class_counts([masks], 4)
    with pytest.raises(ValueError, match="a mask has class 9, but the model has 4 classes"):
        count_pixels(Says(), batches(answers, torch.full_like(masks, 9)), prior)
    with pytest.raises(ValueError, match="none of the held-out masks has a class"):
        count_pixels(Says(), batches(answers, torch.full_like(masks, VOID)), prior).scores()
    broken = Says()
    broken.zero.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the outputs of the model are not finite"):
        count_pixels(broken, batches(answers, masks), prior)
    assert PixelCounts.empty(2).images == 0
