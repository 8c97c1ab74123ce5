"""What the network hears behind an utterance where it is padded as faster-whisper pads."""

import numpy as np
import pytest
import torch

from benchmarks.recognition_padding import ZerosBehind, padded_transcripts
from pixel_mm.models.frontend import LogMel


def test_what_is_heard_of_the_utterance_stays_and_zeros_follow() -> None:
    log_mel = LogMel(80)
    padded = ZerosBehind(log_mel)
    waveform = torch.zeros(1, 16_000)
    waveform[0, :4_100] = torch.randn(4_100, generator=torch.Generator().manual_seed(0))
    num_samples = torch.tensor([16_000])
    plain, _ = log_mel(waveform, num_samples)
    padded.num_samples = 4_100
    zeroed, num_frames = padded(waveform, num_samples)
    assert num_frames.tolist() == [100]
    heard = 4_100 // 160 + 1
    torch.testing.assert_close(zeroed[:, :heard], plain[:, :heard], rtol=0, atol=0)
    assert not zeroed[:, heard:].any()
    assert plain[:, heard:].abs().min() > 0.1  # silence is no zero


@pytest.mark.slow
@pytest.mark.weights
def test_transcripts_come_by_name() -> None:
    time = np.arange(16_000, dtype=np.float32) / 16_000
    found = padded_transcripts("whisper_tiny_en", {"a": np.sin(880 * time), "b": np.sin(500 * time)[:8_000]})
    assert found.keys() == {"a", "b"}
