"""Averaging neighbouring frames above a hidden state: faster layers, and still no score depends on its batch."""

import pytest
import torch

from pixel_mm.models.adaptation import Freeze, LastLayers
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.pooling import average_neighbours
from pixel_mm.models.trunk_cache import TrunkCache
from tests.models.tiny_networks import LABELS, speech, whisper


def network(frame_stride: int, stride_depth: int, trained_layers: int = 1) -> EmotionRegressor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = EmotionRegressor(
            whisper(), LABELS, projection_size=8, attention_size=4,
            frame_stride=frame_stride, stride_depth=stride_depth,
        )  # fmt: skip
    adapt = LastLayers(trained_layers) if trained_layers else Freeze(["encoder.*"])
    adapt(made)
    return made.eval()


def test_average_is_over_the_frames_there_are():
    frames = torch.tensor([[[1.0], [3.0], [5.0], [7.0], [9.0]], [[2.0], [4.0], [6.0], [0.0], [0.0]]])
    averaged = average_neighbours(frames, torch.tensor([5, 3]), stride=2)
    assert averaged.squeeze(2).tolist() == [[2.0, 6.0, 9.0], [3.0, 6.0, 0.0]]


@pytest.mark.parametrize("stride_depth", [0, 1, 2])
def test_score_alone_is_the_score_in_a_batch(stride_depth):
    strided = network(2, stride_depth)
    waveform, lengths = speech(16_000, 9_000, 400, 23_456)
    with torch.inference_mode():
        together = strided(waveform, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = strided(waveform[row : row + 1, :length], lengths[row : row + 1])
            assert torch.allclose(alone.scores, together.scores[row : row + 1], atol=1e-5)
            assert torch.allclose(alone.emotion_logits, together.emotion_logits[row : row + 1], atol=1e-4)


@pytest.mark.parametrize("trained_layers", [0, 1, 2])
@pytest.mark.parametrize("stride_depth", [0, 1, 2])
def test_trunk_and_rest_are_the_whole(stride_depth, trained_layers):
    strided = network(2, stride_depth, trained_layers)
    waveform, lengths = speech(16_000, 9_000)
    with torch.inference_mode():
        whole = strided(waveform, lengths)
        parts = strided.from_trunk(*strided.trunk(waveform, lengths))
    assert torch.equal(whole.emotion_logits, parts.emotion_logits)


def test_layers_above_run_on_fewer_frames():
    waveform, lengths = speech(16_000)
    assert network(2, 1).trunk(waveform, lengths).num_frames.tolist() == [25]
    assert network(1, 1).trunk(waveform, lengths).num_frames.tolist() == [50]


def test_cache_tells_strides_apart(tmp_path):
    keys = {TrunkCache(tmp_path, network(stride, depth)).key for stride, depth in ((1, 0), (2, 0), (2, 1))}
    assert len(keys) == 3
    above = {TrunkCache(tmp_path, network(stride, 2)).key for stride in (1, 2)}
    assert len(above) == 1, "what happens above the trunk is not kept"


@pytest.mark.parametrize(("frame_stride", "stride_depth"), [(0, 0), (2, 3), (2, -1)])
def test_refuses_what_is_not_there(frame_stride, stride_depth):
    with pytest.raises(ValueError, match="frame_stride"):
        network(frame_stride, stride_depth)
