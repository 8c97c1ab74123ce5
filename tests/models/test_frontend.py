import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from pixel_mm import audio
from pixel_mm.models.frontend import FeatureMask, LogMel, normalise_level, padding_mask, zero_padding
from tests.models.tiny_networks import speech


@pytest.mark.parametrize("length", [400, 5_001, 48_000, 160_159])
@pytest.mark.parametrize("num_mels", [80, 128])
def test_log_mel_is_that_of_whispers_feature_extractor(length: int, num_mels: int) -> None:
    waveform, num_samples = speech(length)
    # The extractor pads to a round number of seconds with zeros; the frames of the clip itself come first.
    extractor = WhisperFeatureExtractor(feature_size=num_mels, chunk_length=-(-length // 16_000) + 1)
    expected = extractor(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"][0].T
    mel, num_frames = LogMel(num_mels)(waveform, num_samples)
    assert mel.shape == (1, length // 160, num_mels)
    assert num_frames.tolist() == [length // 160]
    torch.testing.assert_close(mel[0], expected[: length // 160], atol=2e-4, rtol=0)


def test_the_floor_of_a_clip_is_set_by_its_own_loudest_frame() -> None:
    waveform, num_samples = speech(8_000, 8_000)
    waveform[:, 4_000:] = 0.0
    waveform[1] *= 0.1
    mel, _ = LogMel()(waveform, num_samples)
    alone, _ = LogMel()(waveform[1:], num_samples[1:])
    torch.testing.assert_close(mel[1:], alone)
    for row in mel:
        assert float(row.max() - row.min()) == pytest.approx(2.0)


def test_a_silent_clip_has_a_flat_spectrogram() -> None:
    mel, _ = LogMel()(torch.zeros(1, 4_000), torch.tensor([4_000]))
    assert mel.unique().tolist() == [-1.5]


def test_nothing_in_the_front_end_is_a_weight_or_saved() -> None:
    assert not list(LogMel().parameters())
    assert not LogMel().state_dict()


def test_mixed_precision_leaves_the_spectrogram_exact() -> None:
    waveform, num_samples = speech(8_000, 6_000)
    exact, _ = LogMel()(waveform, num_samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = LogMel()(waveform, num_samples)
    torch.testing.assert_close(mixed, exact, atol=0, rtol=0)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 30.0])
def test_levels_are_those_that_files_are_read_at(gain: float) -> None:
    waveform, num_samples = speech(9_000, 5_000)
    waveform[1, 100] = 20.0  # a click, whose peak limits the gain
    levelled = normalise_level(gain * waveform, num_samples)
    for row, length in enumerate(num_samples.tolist()):
        expected = audio.normalise_level((gain * waveform[row, :length]).numpy())
        np.testing.assert_allclose(levelled[row, :length].numpy(), expected, atol=1e-6)
        assert levelled[row, length:].count_nonzero() == 0
    torch.testing.assert_close(normalise_level(levelled, num_samples), levelled, atol=1e-6, rtol=0)


def test_level_of_silence_and_of_what_lies_beyond_the_end() -> None:
    waveform, num_samples = speech(9_000, 5_000)
    waveform[1, 5_000:] = float("inf")
    assert normalise_level(waveform, num_samples).isfinite().all()
    assert normalise_level(torch.zeros(1, 400), torch.tensor([400])).count_nonzero() == 0


def test_padding_is_masked_only_where_there_is_some() -> None:
    assert padding_mask(torch.tensor([3, 3]), 3) is None
    mask = padding_mask(torch.tensor([3, 1]), 3)
    assert mask is not None
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    values = torch.full((2, 3, 2), torch.nan)
    values[0] = 1.0
    values[1, 0] = 1.0
    assert zero_padding(values, mask)[1].tolist() == [[1, 1], [0, 0], [0, 0]]


def masked(mask: FeatureMask, *seeds: int, lengths: tuple[int, ...] = (100, 60)) -> torch.Tensor:
    """True where something is masked."""
    features = torch.ones(len(lengths), max(lengths), 80)
    return mask(features, torch.tensor(lengths), torch.tensor(seeds)) == 0


def test_masks_of_a_clip_depend_on_its_seed_alone() -> None:
    mask = FeatureMask(2, 0.3, 2, 0.2)
    first = masked(mask, 7, 8)
    assert torch.equal(first, masked(mask, 7, 8))
    swapped = masked(mask, 8, 7, lengths=(60, 100))
    assert torch.equal(first[0], swapped[1])
    assert torch.equal(first[1, :60], swapped[0, :60])
    assert not torch.equal(first[0], masked(mask, 9, 8)[0])


def test_masks_are_as_wide_as_asked_for_and_no_wider() -> None:
    bands = FeatureMask(num_bands=1, max_band_share=0.25, num_stretches=0)
    times = FeatureMask(num_bands=0, num_stretches=1, max_time_share=0.1)
    band_widths, stretch_lengths = [], []
    for seed in range(300):
        hidden = masked(bands, seed, lengths=(50,))[0]
        assert torch.equal(hidden.any(0), hidden.all(0))  # a band is masked for the whole clip
        band_widths.append(int(hidden[0].sum()))
        hidden = masked(times, seed, lengths=(50,))[0]
        assert torch.equal(hidden.any(1), hidden.all(1))
        stretch_lengths.append(int(hidden[:, 0].sum()))
    assert set(band_widths) == set(range(21))
    assert set(stretch_lengths) == set(range(6))


def test_masks_in_time_stay_within_a_clip() -> None:
    times = FeatureMask(num_bands=0, num_stretches=3, max_time_share=0.5)
    for seed in range(100):
        assert not masked(times, 0, seed, lengths=(100, 20))[1, 20:].any()


def test_no_masks_leave_features_alone_and_mistakes_are_refused() -> None:
    features = torch.ones(1, 5, 4)
    off = FeatureMask(num_bands=0, num_stretches=0)
    assert not off.active
    assert off(features, torch.tensor([5]), torch.tensor([1])) is features
    with pytest.raises(ValueError, match=r"encoder\.mask: shares are in 0\.\.1"):
        FeatureMask(max_band_share=1.5)
