import math

import pytest
import torch

from pixel_mm.metrics.concordance import concordance
from pixel_mm.models.emotion.losses import ConcordanceLoss, EmotionLoss, RobustLoss

NAN = math.nan


def test_concordance_loss_is_one_less_the_mean_coefficient() -> None:
    torch.manual_seed(0)
    scores, ratings = torch.rand(20, 3), torch.rand(20, 3)
    expected = 1 - sum(concordance(scores[:, k].numpy(), ratings[:, k].numpy()) for k in range(3)) / 3
    assert float(ConcordanceLoss()(scores, ratings)) == pytest.approx(expected, abs=1e-5)
    assert float(ConcordanceLoss()(ratings, ratings)) == pytest.approx(0.0, abs=1e-5)
    assert float(ConcordanceLoss()(1 - ratings, ratings)) > 1


def test_concordance_counts_what_is_rated_only() -> None:
    torch.manual_seed(0)
    scores, ratings = torch.rand(6, 3), torch.rand(6, 3)
    partly = ratings.clone()
    partly[4:, 0] = NAN
    partly[:, 1] = NAN
    partly[1:, 2] = NAN  # one rating has no concordance
    expected = 1 - concordance(scores[:4, 0].numpy(), ratings[:4, 0].numpy())
    assert float(ConcordanceLoss()(scores, partly)) == pytest.approx(expected, abs=1e-5)


def test_robust_loss_is_square_near_and_linear_far() -> None:
    loss = RobustLoss(threshold=0.2)
    ratings = torch.tensor([[0.5, NAN, NAN]])
    assert float(loss(torch.tensor([[0.6, 0.0, 0.0]]), ratings)) == pytest.approx(0.1**2 / 2 / 0.2)
    assert float(loss(torch.tensor([[1.0, 0.0, 0.0]]), ratings)) == pytest.approx(0.5 - 0.1)


@pytest.mark.parametrize("loss", [ConcordanceLoss(), RobustLoss()])
@pytest.mark.parametrize(
    "ratings",
    [[[NAN, NAN, NAN]] * 2, [[0.5, 0.5, 0.5]] * 2, [[0.2, NAN, 1.0]], [[0.0, 1.0, NAN], [1.0, NAN, NAN]]],
    ids=["none", "all equal", "one clip", "some"],
)
def test_whatever_is_rated_loss_and_gradients_are_finite(loss: torch.nn.Module, ratings: list[list[float]]) -> None:
    for value in (0.5, 0.0):
        scores = torch.full((len(ratings), 3), value, requires_grad=True)
        result = loss(scores, torch.tensor(ratings))
        result.backward()
        assert result.isfinite()
        assert scores.grad is not None
        assert scores.grad.isfinite().all()


def emotion_loss(label_source: str = "mapped", **changes: float) -> EmotionLoss:
    return EmotionLoss(label_source, {"rated": ConcordanceLoss(), "mapped": RobustLoss()}, **changes)


def test_the_loss_of_ratings_follows_who_made_them() -> None:
    assert isinstance(emotion_loss("rated").rating_loss, ConcordanceLoss)
    assert isinstance(emotion_loss("mapped").rating_loss, RobustLoss)
    with pytest.raises(ValueError, match=r"none for label_source 'guessed'; it has rated, mapped"):
        emotion_loss("guessed")


def test_terms_are_weighed_and_clips_without_a_category_left_out() -> None:
    torch.manual_seed(0)
    scores, ratings, logits = torch.rand(3, 3), torch.rand(3, 3), torch.randn(3, 4)
    emotion = torch.tensor([2, -100, 0])
    terms = emotion_loss(rating_weight=0.5, emotion_weight=2.0, label_smoothing=0.1)(scores, logits, ratings, emotion)
    labelled = torch.tensor([0, 2])
    target = torch.nn.functional.one_hot(emotion[labelled], 4) * 0.9 + 0.1 / 4
    expected = -(target * logits[labelled].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(terms.emotion, expected)
    torch.testing.assert_close(terms.ratings, RobustLoss()(scores, ratings))
    torch.testing.assert_close(terms.total, 0.5 * terms.ratings + 2.0 * terms.emotion)


@pytest.mark.parametrize("num_labels", [0, 4])
def test_a_batch_without_categories_still_trains(num_labels: int) -> None:
    logits = torch.randn(2, num_labels, requires_grad=True)
    scores = torch.rand(2, 3, requires_grad=True)
    terms = emotion_loss()(scores, logits, torch.rand(2, 3), torch.tensor([-100, -100]))
    terms.total.backward()
    assert float(terms.emotion.detach()) == 0.0
    assert logits.grad is not None
    assert logits.grad.count_nonzero() == 0
