"""What holds for every kind of encoder: padding, short clips, cutting at a layer, gradients."""

import pytest
import torch

from pixel_mm.models.encoders.encoder import SpeechEncoder
from tests.models.tiny_networks import FAMILIES, regressor, speech

LENGTHS = (16_000, 400, 7_777, 12_345, 15_999)
TOLERANCE = 1e-4


@pytest.fixture(params=FAMILIES)
def encoder(request: pytest.FixtureRequest) -> SpeechEncoder:
    return FAMILIES[request.param]()


@torch.no_grad()
def test_a_clip_gives_the_same_frames_alone_and_in_a_batch(encoder: SpeechEncoder) -> None:
    waveform, num_samples = speech(*LENGTHS)
    batch = encoder.all_states(waveform, num_samples)
    assert len(batch.states) == encoder.num_layers + 1
    for row, length in enumerate(LENGTHS):
        alone = encoder.all_states(waveform[row : row + 1, :length], num_samples[row : row + 1])
        frames = int(alone.num_frames)
        assert batch.num_frames[row] == frames
        for mine, theirs in zip(alone.states, batch.states, strict=True):
            assert mine.shape == (1, frames, encoder.hidden_size)
            torch.testing.assert_close(theirs[row, :frames], mine[0], atol=TOLERANCE, rtol=0)
            assert theirs[row, frames:].count_nonzero() == 0


@torch.no_grad()
def test_what_lies_beyond_the_end_of_a_clip_is_never_looked_at(encoder: SpeechEncoder) -> None:
    waveform, num_samples = speech(*LENGTHS)
    expected = encoder(waveform, num_samples)[0]
    for row, length in enumerate(LENGTHS):
        waveform[row, length:] = float("nan")
    torch.testing.assert_close(encoder(waveform, num_samples)[0], expected, atol=0, rtol=0)


@torch.no_grad()
def test_more_padding_than_needed_changes_nothing(encoder: SpeechEncoder) -> None:
    waveform, num_samples = speech(9_000, 5_000)
    frames, _ = encoder(waveform, num_samples)
    more, _ = encoder(torch.nn.functional.pad(waveform, (0, 4_321)), num_samples)
    torch.testing.assert_close(more[:, : frames.shape[1]], frames, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("length", [400, 401, 640, 719, 720])
def test_clips_of_25_ms_and_a_little_more_have_frames(encoder: SpeechEncoder, length: int) -> None:
    frames, num_frames = encoder(*speech(length))
    assert int(num_frames) == frames.shape[1] >= 1
    assert frames.isfinite().all()


@torch.no_grad()
def test_going_on_from_any_layer_gives_what_one_run_gives(encoder: SpeechEncoder) -> None:
    whole = encoder.all_states(*speech(6_000, 4_000))
    for depth in range(encoder.num_layers + 1):
        rest = encoder.forward_from(whole.states[depth], whole.num_frames, depth)
        assert len(rest.states) == encoder.num_layers - depth
        for mine, theirs in zip(rest.states, whole.states[depth + 1 :], strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    upper = encoder.forward_from(whole.states[0], whole.num_frames, 0, until=1)
    torch.testing.assert_close(upper.states, whole.states[1:2])


@torch.no_grad()
def test_frames_come_at_the_rate_that_the_encoder_states(encoder: SpeechEncoder) -> None:
    _, num_frames = encoder(*speech(160_000))
    assert int(num_frames) == pytest.approx(10 * encoder.frame_rate_hz, abs=1)


def test_every_parameter_is_reached_by_gradients_and_no_gradient_is_nan(encoder: SpeechEncoder) -> None:
    network = regressor(encoder)
    output = network(*speech(400, 5_000))
    (output.scores.sum() + output.emotion_logits.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("length", [399, 480_001])
def test_clips_that_are_too_short_or_too_long_are_refused(encoder: SpeechEncoder, length: int) -> None:
    with pytest.raises(ValueError, match=rf"utterance 1 has {length} samples.*25 ms"):
        encoder(torch.zeros(2, 480_001), torch.tensor([16_000, length]))
    with pytest.raises(ValueError, match="in a row of 500"):
        encoder(torch.zeros(1, 500), torch.tensor([600]))


@torch.no_grad()
def test_half_of_bfloat16s_precision_is_enough_to_stay_near(encoder: SpeechEncoder) -> None:
    waveform, num_samples = speech(6_000, 4_000)
    exact, _ = encoder(waveform, num_samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = encoder(waveform, num_samples)
    assert rough.isfinite().all()
    distance = (rough.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert distance < 0.1
