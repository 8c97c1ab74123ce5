import math

import pytest
import torch

from pixel_mm.models.fusion.calibration import fit_scale_and_offset
from pixel_mm.models.fusion.heads import Readings
from pixel_mm.models.fusion.losses import FusionLoss, answers_of, is_right, response_loss
from pixel_mm.models.fusion.reading import FusionOutput

NAMES = ("valence", "arousal", "crisis")
NONE = -100


def test_an_answer_is_predicted_from_the_token_before_it() -> None:
    labels = torch.tensor([[NONE, NONE, 7, 8, NONE], [NONE, 5, NONE, NONE, NONE], [NONE] * 5])
    answers = answers_of(labels)
    assert answers.columns.tolist() == [0, 1, 2]
    assert answers.tokens.tolist() == [[NONE, 7, 8], [5, NONE, NONE], [NONE] * 3]
    assert labels[0, 2] == 7  # as it was


def test_without_answers_there_is_no_loss() -> None:
    answers = answers_of(torch.full((2, 4), NONE))
    assert answers.columns.tolist() == [0]
    loss = response_loss(torch.randn(2, 1, 9), answers.tokens)
    assert loss.mean() == 0
    assert loss.counts.tolist() == [0, 0]


def test_the_response_loss_counts_answer_tokens_alone() -> None:
    logits = torch.zeros(2, 2, 4)
    logits[0, 0, 3] = 50.0
    logits[1, 1] = torch.nan  # no token of an answer follows here
    loss = response_loss(logits, torch.tensor([[3, 1], [0, NONE]]))
    torch.testing.assert_close(loss.sums, torch.tensor([math.log(4), math.log(4)]))
    assert loss.counts.tolist() == [2, 1]
    torch.testing.assert_close(loss.mean(), torch.tensor(2 * math.log(4) / 3))


def output(logits: list[list[float]], heard: list[int]) -> FusionOutput:
    values = torch.tensor(logits, requires_grad=True)
    confidence = torch.zeros(len(logits), requires_grad=True)
    rows = torch.tensor(heard, dtype=torch.int64)
    text = Readings(values, confidence)
    some = Readings(values[rows], confidence[rows]) if heard else None
    return FusionOutput(torch.empty(0), rows, text, some, some, None)


def logit(*scores: float) -> list[float]:
    return [math.log(score / (1 - score)) for score in scores]


def test_right_scores_cost_nothing_and_wrong_ones_something() -> None:
    losses, has_text = FusionLoss(), torch.tensor([True, True])
    targets = torch.tensor([[0.2, 0.7, 0.9], [0.6, 0.3, 0.1]])
    right = losses(
        output([logit(0.2, 0.7, 0.9), logit(0.6, 0.3, 0.1)], [1]), torch.tensor(0.0), targets, NAMES, has_text
    )
    wrong = losses(
        output([logit(0.2, 0.7, 0.9), logit(0.6, 0.9, 0.1)], [1]), torch.tensor(0.0), targets, NAMES, has_text
    )
    assert abs(right.scores.item()) < 1e-5
    assert wrong.scores > 0.1


def test_what_has_no_label_or_no_words_has_no_gradient() -> None:
    result = output([[1.0, -1.0, 0.5], [0.3, 0.2, 0.1], [0.5, 0.5, 0.5]], [])
    targets = torch.tensor([[0.2, torch.nan, torch.nan], [0.9, 0.9, 0.9], [0.4, torch.nan, torch.nan]])
    terms = FusionLoss()(result, torch.tensor(0.0), targets, NAMES, torch.tensor([True, False, True]))
    terms.total.backward()
    assert result.text is not None
    gradient = result.text.logits.grad
    assert gradient is not None
    assert (gradient != 0).tolist() == [[True, False, False], [False] * 3, [True, False, False]]


def test_a_score_with_few_labels_counts_as_much_as_one_with_many() -> None:
    """With a mean over all labels, a score that one row in a hundred has would be learnt a hundredth as fast."""
    targets = torch.full((100, 2), torch.nan)
    targets[:, 0], targets[0, 1] = 1.0, 1.0
    result = output([[0.0, 0.0]] * 100, [])
    FusionLoss()(
        result, torch.tensor(0.0), targets, ("bias", "crisis"), torch.ones(100, dtype=torch.bool)
    ).total.backward()
    assert result.text is not None
    gradient = result.text.logits.grad
    assert gradient is not None
    torch.testing.assert_close(gradient.sum(0), torch.tensor([-0.25, -0.25]))


def test_confidence_learns_whether_the_feeling_was_estimated_rightly() -> None:
    scores = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 1.0], [0.9, 0.5, 0.0]])
    targets = torch.tensor([[0.6, 0.5, 1.0], [0.9, 0.5, 1.0], [torch.nan] * 3])
    right = is_right(scores, targets, NAMES, tolerance=0.1)
    assert right[:2].tolist() == [1.0, 0.0]
    assert right[2].isnan()


def test_calibration_makes_probabilities_of_overconfident_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(4000, generator=generator)
    right = (torch.rand(4000, generator=generator) < truth.sigmoid()).float()
    scale, offset = fit_scale_and_offset(5 * truth + 3, right)
    assert scale == pytest.approx(0.2, abs=0.02)
    assert offset == pytest.approx(-0.6, abs=0.1)


@pytest.mark.parametrize(
    ("logits", "right"),
    [([], []), ([0.3, 0.1], [float("nan")] * 2), ([2.0, 1.0], [1.0, 1.0]), ([1.0], [0.0]), ([3.0, -3.0], [0.0, 1.0])],
)
def test_calibration_of_few_rows_stays_within_reason(logits: list[float], right: list[float]) -> None:
    scale, offset = fit_scale_and_offset(torch.tensor(logits), torch.tensor(right))
    assert 0 < scale < 10
    assert abs(offset) < 10
