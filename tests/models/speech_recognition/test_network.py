import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from pixel_mm.models.encoders.whisper import WhisperEncoder
from pixel_mm.models.frontend import FeatureMask
from pixel_mm.models.speech_recognition.decoder import WhisperDecoder
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from tests.models.tiny_networks import speech, whisper
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

TOKENS = torch.tensor([[257, 264, 40, 41, 42, 7], [257, 264, 9, 8, 7, 3]])


def published_twin(network: WhisperRecognizer) -> WhisperForConditionalGeneration:
    config = WhisperConfig(
        vocab_size=tiny_tokenizer().num_tokens, d_model=16, encoder_layers=2, encoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=20,
        max_target_positions=64, pad_token_id=0, bos_token_id=256, eos_token_id=256, decoder_start_token_id=257,
    )  # fmt: skip
    published = WhisperForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    weights = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    published.load_state_dict({**weights, "proj_out.weight": network.decoder.embed_tokens.weight})
    return published


@torch.no_grad()
def test_with_full_context_it_is_the_published_network() -> None:
    network = tiny_recognizer("full")
    waveform, num_samples = speech(48_000, 30_000)
    features = WhisperFeatureExtractor(feature_size=20)(
        [row[:length].numpy() for row, length in zip(waveform, num_samples.tolist(), strict=True)],
        sampling_rate=16_000,
        return_tensors="pt",
    )
    theirs = published_twin(network)(
        features["input_features"], decoder_input_ids=TOKENS, output_attentions=True, use_cache=False
    )
    torch.testing.assert_close(network(waveform, num_samples, TOKENS), theirs.logits, atol=2e-3, rtol=0)
    frames, num_frames = network.hear(waveform, num_samples)
    assert num_frames.tolist() == [1500, 1500]
    _, _, looks = network.decoder.watch(TOKENS, network.decoder.hear(frames), None, network.decoder.no_past(2))
    torch.testing.assert_close(looks, torch.stack(theirs.cross_attentions, dim=1), atol=1e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("context", ["full", "short"])
def test_an_utterance_has_the_scores_that_it_has_alone(context: str) -> None:
    network = tiny_recognizer(context)  # type: ignore[arg-type]
    waveform, num_samples = speech(20_000, 9_001)
    together = network(waveform, num_samples, TOKENS)
    for row, length in enumerate(num_samples.tolist()):
        alone = network(waveform[row : row + 1, :length], num_samples[row : row + 1], TOKENS[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_token_by_token_it_gives_what_it_gives_at_once() -> None:
    network = tiny_recognizer()
    frames, num_frames = network.hear(*speech(20_000, 9_001))
    heard, past, found = network.decoder.hear(frames), network.decoder.no_past(2), []
    for start, stop in ((0, 3), (3, 4), (4, 6)):
        logits, past = network.step(TOKENS[:, start:stop], heard, num_frames, past)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), network.teach(TOKENS, frames, num_frames), atol=1e-5, rtol=0)
    attended, empty = network.attended(num_frames, frames.shape[1]), network.decoder.no_past(2)
    hidden, _, looks = network.decoder.watch(TOKENS, heard, attended, empty)
    torch.testing.assert_close(hidden, network.decoder(TOKENS, heard, attended, empty)[0], atol=1e-5, rtol=0)
    assert float(looks[1, :, :, :, int(num_frames[1]) :].abs().max()) == 0.0
    torch.testing.assert_close(looks.sum(-1), torch.ones(2, 2, 2, 6))


@torch.no_grad()
def test_no_score_depends_on_a_later_token() -> None:
    network, other = tiny_recognizer(), TOKENS.clone()
    other[:, 4:] = 100
    waveform, num_samples = speech(8_000, 8_000)
    one, two = network(waveform, num_samples, TOKENS), network(waveform, num_samples, other)
    torch.testing.assert_close(one[:, :4], two[:, :4])
    assert float((one[:, 4] - two[:, 4]).abs().max()) > 1e-3


@torch.no_grad()
def test_masks_are_random_by_seed_and_change_what_is_heard() -> None:
    network = tiny_recognizer()
    network.encoder.mask = FeatureMask(num_bands=2, max_band_share=0.5)
    waveform, num_samples = speech(8_000, 8_000)
    seeds = torch.tensor([1, 2])
    plain, masked = network(waveform, num_samples, TOKENS), network(waveform, num_samples, TOKENS, seeds)
    torch.testing.assert_close(masked, network(waveform, num_samples, TOKENS, seeds))
    assert float((plain - masked).abs().max()) > 1e-3


def test_what_is_frozen_rests_while_the_rest_trains() -> None:
    network = tiny_recognizer()
    network.encoder.requires_grad_(False)
    network.train()
    assert (network.encoder.training, network.decoder.training) == (False, True)


def test_parts_of_two_models_are_refused() -> None:
    decoder = WhisperDecoder(1, 32, 2, 32, 100, pretrained_weights=False)
    with pytest.raises(ValueError, match=r"the decoder \(hidden size 32\) needs a whole encoder"):
        WhisperRecognizer(whisper(), decoder)
    with pytest.raises(ValueError, match=r"1 layers of 16, cut"):
        WhisperRecognizer(whisper(last_layer=1), WhisperDecoder(1, 16, 2, 32, 100, pretrained_weights=False))
    with pytest.raises(ValueError, match="context is 'none'"):
        tiny_recognizer("none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hidden_size 16 must be a multiple of num_heads 3"):
        WhisperDecoder(1, 16, 3, 32, 100, pretrained_weights=False)


def test_audio_that_is_too_long_is_refused_before_it_is_padded() -> None:
    network = tiny_recognizer("full")
    assert isinstance(network.encoder, WhisperEncoder)
    with pytest.raises(ValueError, match=r"30 s"):
        network.hear(torch.zeros(1, 480_001), torch.tensor([480_001]))


@torch.no_grad()
def test_short_context_is_the_rest_and_the_frames_there_are_and_half_a_second_of_silence() -> None:
    network = tiny_recognizer("short")
    frames, num_frames = network.hear(*speech(20_000, 9_001))
    assert num_frames.tolist() == [64 + 88, 64 + 53]  # of 20 ms, rounded up, after 8,000 more samples
    assert frames.shape[1] == 64 + 88
    assert network.hear(*speech(480_000))[1].tolist() == [64 + 1500]


@torch.no_grad()
def test_a_few_frames_stand_for_all_the_silence() -> None:
    waveform, num_samples = speech(20_000, 64_000)
    full, _ = tiny_recognizer("full").hear(waveform, num_samples)
    short, _ = tiny_recognizer("short").hear(waveform, num_samples)
    alone, _ = tiny_recognizer("full").encoder(waveform, num_samples)
    for row, frames in enumerate((62, 200)):
        expected = full[row, :frames]
        error, without = (
            float((each - expected).square().mean()) for each in (short[row, 64:][:frames], alone[row, :frames])
        )
        assert error < 0.05 * without


@torch.no_grad()
def test_the_rest_of_a_clip_that_fills_the_context_is_next_to_nothing() -> None:
    waveform, num_samples = speech(480_000)
    full, short = tiny_recognizer("full"), tiny_recognizer("short")
    torch.testing.assert_close(
        short(waveform, num_samples, TOKENS[:1]), full(waveform, num_samples, TOKENS[:1]), atol=1e-3, rtol=0
    )
