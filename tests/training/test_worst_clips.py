from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from pixel_mm.data.batching import NO_EMOTION, StateBatch, WaveformBatch
from pixel_mm.training.worst_clips import worst_clips


class Output(NamedTuple):
    scores: Tensor
    emotion_logits: Tensor


class Fixed:
    """Says 0.5 of everything and "anger" with a probability of 0.75."""

    emotion_labels = ("anger", "calm")

    def __call__(self, waveform: Tensor, num_samples: Tensor) -> Output:
        return Output(torch.full((len(waveform), 3), 0.5), torch.tensor([[3.0, 1.0]]).log().expand(len(waveform), 2))

    def from_trunk(self, states: Tensor, num_frames: Tensor) -> Output:
        return self(states, num_frames)


NAN = float("nan")
LABELS = {
    "ratings": torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, NAN], [NAN, NAN, NAN], [0.4, 0.6, 0.5]]),
    "emotion": torch.tensor([0, 1, 1, NO_EMOTION]),
    "index": torch.tensor([10, 11, 12, 13]),
    "keys": ("right", "far", "other", "near"),
    "audio_hashes": ("a", "b", "c", "d"),
}
BATCHES = [
    WaveformBatch(waveform=torch.zeros(4, 400), num_samples=torch.full((4,), 400), **LABELS),  # type: ignore[arg-type]
    StateBatch(states=torch.zeros(4, 1, 5, 2), num_frames=torch.full((4,), 5), **LABELS),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_worst_come_first_with_what_was_said_of_them(batch: WaveformBatch | StateBatch) -> None:
    worst = worst_clips(Fixed(), [batch], 3, torch.device("cpu"))
    assert [(clip.key, clip.index) for clip in worst] == [("far", 11), ("other", 12), ("right", 10)]
    # Mean absolute error of the known ratings, plus what is missing to certainty of the true category.
    assert [clip.error for clip in worst] == pytest.approx([0.5 + 0.75, 0.75, 0.25])
    assert worst[0].ratings == {"valence": 0.0, "arousal": 1.0}
    assert worst[0].scores == {"valence": 0.5, "arousal": 0.5, "dominance": 0.5}
    assert (worst[1].emotion, worst[1].predicted_emotion, worst[1].ratings) == ("calm", "anger", {})
    near = worst_clips(Fixed(), [batch], 4, torch.device("cpu"))[-1]
    assert (near.key, near.emotion) == ("near", None)
    assert near.error == pytest.approx(0.2 / 3)
