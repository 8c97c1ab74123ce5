import pytest
import torch

from pixel_mm.models.pooling import AttentiveStatistics, LayerWeightedSum


def pooling() -> AttentiveStatistics:
    torch.manual_seed(0)
    return AttentiveStatistics(6, 4)


def test_statistics_are_weighted_mean_and_deviation_of_an_utterances_own_frames() -> None:
    pool = pooling()
    frames = torch.randn(1, 7, 6)
    weights = pool.score(frames).softmax(1)
    mean = (weights * frames).sum(1)
    deviation = ((weights * frames.square()).sum(1) - mean.square()).sqrt()
    pooled = pool(frames, torch.tensor([7]))
    torch.testing.assert_close(pooled, torch.cat((mean, deviation), dim=1), atol=1e-5, rtol=1e-4)


def test_padding_has_no_weight() -> None:
    pool = pooling()
    frames = torch.randn(2, 9, 6)
    alone = pool(frames[1:, :4], torch.tensor([4]))
    together = pool(frames, torch.tensor([9, 4]))
    torch.testing.assert_close(together[1:], alone, atol=1e-6, rtol=0)


def test_one_frame_and_equal_frames_give_finite_values_and_gradients() -> None:
    pool = pooling()
    for frames in (torch.randn(1, 1, 6), torch.full((1, 5, 6), 1e4), torch.zeros(1, 3, 6)):
        frames.requires_grad_(True)
        pooled = pool(frames, torch.tensor([frames.shape[1]]))
        pooled.square().sum().backward()
        assert pooled.isfinite().all()
        assert frames.grad is not None
        assert frames.grad.isfinite().all()


def test_deviations_of_frames_far_from_zero_keep_their_digits() -> None:
    pool = pooling()
    frames = 1_000 + torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 4, 1).expand(1, 4, 6)
    with torch.no_grad():
        pool.score[-1].weight.zero_()  # equal weights
    torch.testing.assert_close(pool(frames, torch.tensor([4]))[:, 6:], torch.full((1, 6), 1.25**0.5), atol=1e-3, rtol=0)


def test_pooling_is_done_in_full_precision() -> None:
    pool = pooling()
    frames = torch.randn(2, 50, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool(frames, torch.tensor([50, 20]))
    assert pooled.dtype == torch.float32


def test_layers_begin_with_equal_shares_whatever_their_scale() -> None:
    combine = LayerWeightedSum(2, 8)
    quiet, loud = torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    torch.testing.assert_close(combine([quiet, loud]), combine([quiet, 1_000 * loud]), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(combine([quiet, loud]), combine([loud, quiet]))


def test_layers_are_weighed_by_what_is_learnt() -> None:
    combine = LayerWeightedSum(3, 8)
    states = [torch.randn(1, 3, 8) for _ in range(3)]
    with torch.no_grad():
        combine.weights[1] = 50.0
    torch.testing.assert_close(combine(states), torch.nn.functional.layer_norm(states[1], (8,)))


def test_channels_are_brought_to_one_scale_over_the_frames_there_are() -> None:
    torch.manual_seed(0)
    combine = LayerWeightedSum(1, 8)
    states = torch.randn(4, 50, 8) * torch.tensor([1.0, 100.0, 1, 1, 1, 1, 1, 1]) + torch.arange(8)
    num_frames = torch.tensor([50, 30, 7, 1])
    combine.standardise([([states[:2]], num_frames[:2]), ([states[2:]], num_frames[2:])])
    combined = combine([states])
    frames = torch.cat([row[:length] for row, length in zip(combined, num_frames.tolist(), strict=True)])
    torch.testing.assert_close(frames.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


def test_a_channel_that_never_changes_stays_finite() -> None:
    combine = LayerWeightedSum(1, 4)
    states = torch.tensor([3.0, -1.0, -1.0, -1.0]).expand(2, 5, 4)
    combine.standardise([([states], torch.tensor([5, 5]))])
    assert combine([states]).isfinite().all()


def test_no_frames_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="give more clips"):
        LayerWeightedSum(1, 4).standardise([])
