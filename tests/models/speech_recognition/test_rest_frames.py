import pytest
import torch

from pixel_mm.models.speech_recognition import rest_frames
from pixel_mm.models.speech_recognition.rest_frames import add_rest, rest_weights
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer


@torch.no_grad()
def test_where_each_frame_stands_for_one_they_are_the_silence_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_frames, "REST_FRAMES", 1500 - 88)
    encoder = tiny_recognizer("full").encoder
    waveform, _ = speech(20_000)
    padded = torch.nn.functional.pad(waveform, (0, 460_000))
    full = encoder.front_end(padded, torch.tensor([480_000])).states[0]
    joined = add_rest(full[:, :88], torch.tensor([88]), encoder.embed_positions.weight)
    in_order = torch.cat((joined[:, 1412:], joined[:, :1412]), dim=1)
    # The convolutions see the end of 30 s in the very last frame.
    torch.testing.assert_close(in_order[:, :-1], full[:, :-1], atol=1e-5, rtol=0)

    num_frames = torch.tensor([1500])
    weighed = encoder.forward_from(joined, num_frames, 0, attended=rest_weights(num_frames, 1500)).states[-1]
    plain = encoder.forward_from(in_order, num_frames, 0).states[-1]
    torch.testing.assert_close(weighed[:, 1412:], plain[:, :88], atol=1e-4, rtol=0)


def test_a_frame_weighs_for_those_that_it_stands_for() -> None:
    weights = rest_weights(torch.tensor([64 + 220, 64 + 100]), 64 + 220)
    shares = weights.exp().flatten(1)
    torch.testing.assert_close(shares[:, :64], torch.tensor([[20.0], [1400 / 64]]).expand(2, 64))
    assert (shares[0, 64:] == 1).all()
    assert (shares[1, 64:164] == 1).all()
    assert (shares[1, 164:] == 0).all()  # padding of the batch
    assert float(rest_weights(torch.tensor([64 + 1500]), 64 + 1500).exp().flatten()[:64].sum()) < 1e-3


def test_frames_of_the_rest_lie_behind_each_utterance_and_sound_like_its_silence() -> None:
    positions = torch.arange(1500.0).unsqueeze(1) * 10
    state = positions[:300].expand(2, 300, 1) + 3  # silence sounds like 3
    joined = add_rest(state, torch.tensor([220, 300]), positions)
    assert joined.shape == (2, 364, 1)
    places = (joined[:, :64, 0] - 3) / 10
    assert (places == places.round()).all()
    assert places[0, [0, 1, 63]].tolist() == [230, 250, 1490]
    assert places[1, [0, 63]].tolist() == [309, 1490]
