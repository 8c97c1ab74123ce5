"""What networks do to a waveform before their first learnt layer: level, log-mel, masking, and the padding of batches.

Everything is made of slices, sums and matrix products, so that an exported graph takes the raw waveform and runs where
there is no Fourier transform. It stays in float32 whatever the precision of the rest, and looks at no sample beyond an
utterance's end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES, PEAK_LIMIT, SAMPLE_RATE_HZ, TARGET_LEVEL_DBFS


def tracing() -> bool:
    """Whether a graph is being recorded: then no value may decide what is computed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Float32 inside, also where automatic mixed precision is on outside."""
    if torch.is_autocast_enabled(device_type):
        with torch.autocast(device_type, enabled=False):
            yield
    else:
        yield


def check_lengths(waveform: Tensor, num_samples: Tensor) -> None:
    """Refuse a batch that no encoder can take.

    Args:
        waveform: float32 [B, T].
        num_samples: int64 [B].

    Raises:
        ValueError: shapes that don't fit together; an utterance under 25 ms, over 30 s or longer than its row.
    """
    if tracing():
        return
    if waveform.ndim != 2 or num_samples.shape != waveform.shape[:1]:
        raise ValueError(
            f"waveform must be [B, T] and num_samples [B], got {list(waveform.shape)} and {list(num_samples.shape)}"
        )
    longest = min(MAX_SAMPLES, waveform.shape[1])
    for row, length in enumerate(num_samples.tolist()):
        if not MIN_SAMPLES <= length <= longest:
            raise ValueError(
                f"utterance {row} has {length} samples in a row of {waveform.shape[1]}; need {MIN_SAMPLES} (25 ms) to "
                f"{MAX_SAMPLES} (30 s) at 16 kHz: leave shorter ones out, cut longer ones into overlapping windows"
            )


def padding_mask(lengths: Tensor, size: int) -> Tensor | None:
    """Which places of a padded batch are real.

    Args:
        lengths: int64 [B].
        size: length of the padded axis.

    Returns:
        bool [B, size], true where real; None where nothing is padded, so that the caller can skip masking.
    """
    if not tracing() and all(length == size for length in lengths.tolist()):
        return None
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def zero_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` [B, N, ...] with zeros (also in place of NaN) where `mask` [B, N] is false."""
    if mask is None:
        return values
    return torch.where(mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), values, values.new_zeros(()))


def normalise_level(waveform: Tensor, num_samples: Tensor) -> Tensor:
    """Every utterance at the same level: -26 dBFS RMS, or less where its peak would pass 0.99.

    The formula of `pixel_mm.audio.normalise_level`, for batches and graphs. Doing it twice changes nothing.

    Args:
        waveform: float32 [B, T].
        num_samples: int64 [B].

    Returns:
        float32 [B, T], zero beyond each utterance's end.
    """
    waveform = zero_padding(waveform, padding_mask(num_samples, waveform.shape[1]))
    rms = (waveform.square().sum(1) / num_samples).sqrt()
    peak = waveform.abs().amax(1)
    gain = torch.minimum(10 ** (TARGET_LEVEL_DBFS / 20) / rms.clamp(min=1e-9), PEAK_LIMIT / peak.clamp(min=1e-9))
    return waveform * gain.unsqueeze(1)


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram (Radford et al. 2022) of the samples there are.

    Frames of 25 ms every 10 ms, centred on multiples of the hop, Hann window, power spectrum, Slaney mel bands to
    8 kHz, log10, floor at 8 below the utterance's own maximum, (x + 4) / 4. Before the beginning the signal is
    mirrored, after the end it is zero, as in Whisper's own recipe, which pads to 30 s before it transforms.
    """

    window_samples = 400
    hop_samples = 160

    def __init__(self, num_mels: int = 80) -> None:
        """Make the transform's matrices, which are no weights.

        Args:
            num_mels: mel bands.
        """
        super().__init__()
        num_bins = self.window_samples // 2 + 1
        time = torch.arange(self.window_samples, dtype=torch.float64)
        angle = 2 * torch.pi / self.window_samples * torch.outer(time, torch.arange(num_bins, dtype=torch.float64))
        window = torch.hann_window(self.window_samples, dtype=torch.float64).unsqueeze(1)
        fourier = torch.cat((window * angle.cos(), window * angle.sin()), dim=1)
        bands = melscale_fbanks(num_bins, 0.0, SAMPLE_RATE_HZ / 2, num_mels, SAMPLE_RATE_HZ, "slaney", "slaney")
        self.fourier: Tensor
        self.bands: Tensor
        self.mirror: Tensor
        self.register_buffer("fourier", fourier.float(), persistent=False)
        # Twice the same: one product then sums the squares of both parts of a bin and weighs them.
        self.register_buffer("bands", torch.cat((bands, bands)), persistent=False)
        self.register_buffer("mirror", torch.arange(self.window_samples // 2, 0, -1), persistent=False)

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrogram of a batch.

        Args:
            waveform: float32 [B, T].
            num_samples: int64 [B].

        Returns:
            float32 [B, T // 160, num_mels], zero beyond each utterance's end; int64 [B], frames of each utterance,
            num_samples // 160.
        """
        with full_precision(waveform.device.type):
            waveform = zero_padding(waveform, padding_mask(num_samples, waveform.shape[1])).float()
            mel = (self._frames(waveform) @ self.fourier).square() @ self.bands
            mel = mel.clamp(min=1e-10).log10()
            num_frames = num_samples // self.hop_samples
            mask = padding_mask(num_frames, mel.shape[1])
            # The floor of the logarithm is -10: zeros, which zero_padding leaves behind, could pass for a maximum.
            loudest = (zero_padding(mel + 10.0, mask) - 10.0).amax((1, 2), keepdim=True)
            mel = (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0
            return zero_padding(mel, mask), num_frames

    def _frames(self, waveform: Tensor) -> Tensor:
        """Overlapping frames, float32 [B, T // 160, 400]: two whole hops and a half, side by side."""
        hop = self.hop_samples
        num_blocks = waveform.shape[1] // hop + 2
        tail = waveform.new_zeros(()).expand(waveform.shape[0], 3 * hop // 4)
        padded = torch.cat((waveform.index_select(1, self.mirror), waveform, tail), dim=1)
        blocks = padded[:, : num_blocks * hop].reshape(waveform.shape[0], num_blocks, hop)
        return torch.cat((blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:, : hop // 2]), dim=2)


class FeatureMask(nn.Module):
    """Random bands and stretches of time set to zero: SpecAugment without warping (Park et al., Interspeech 2019).

    What is masked depends on an utterance's own seed and length alone, so a cached result can be told by its seed.
    """

    def __init__(
        self, num_bands: int = 2, max_band_share: float = 0.2, num_stretches: int = 2, max_time_share: float = 0.05
    ) -> None:
        """Choose how much is masked; 0 masks of a kind switches it off.

        Args:
            num_bands: masks over neighbouring features (mel bands).
            max_band_share: widest of them, as a share of the features.
            num_stretches: masks over time.
            max_time_share: longest of them, as a share of the utterance.

        Raises:
            ValueError: a share outside 0..1 or a negative number.
        """
        super().__init__()
        if not (0 <= max_band_share <= 1 and 0 <= max_time_share <= 1 and num_bands >= 0 and num_stretches >= 0):
            raise ValueError("encoder.mask: shares are in 0..1 and numbers are not negative")
        self.num_bands = num_bands
        self.max_band_share = max_band_share
        self.num_stretches = num_stretches
        self.max_time_share = max_time_share

    @property
    def active(self) -> bool:
        """Whether there is anything to mask."""
        return self.num_bands + self.num_stretches > 0

    def forward(self, features: Tensor, num_frames: Tensor, seeds: Tensor) -> Tensor:
        """Mask a batch.

        Args:
            features: float [B, F, C].
            num_frames: int64 [B].
            seeds: int64 [B], one per utterance.

        Returns:
            float [B, F, C].
        """
        if not self.active:
            return features
        draws = torch.stack([self._draws(seed) for seed in seeds.tolist()])
        bands, stretches = draws[:, :, : self.num_bands], draws[:, :, self.num_bands :]
        num_features = torch.full_like(num_frames, features.shape[2])
        keep = _outside(bands, self.max_band_share, num_features, features.shape[2]).unsqueeze(1)
        keep = keep & _outside(stretches, self.max_time_share, num_frames, features.shape[1]).unsqueeze(2)
        return torch.where(keep, features, features.new_zeros(()))

    def extra_repr(self) -> str:
        """Settings, so that the printed network tells what is masked."""
        return (
            f"num_bands={self.num_bands}, max_band_share={self.max_band_share}, "
            f"num_stretches={self.num_stretches}, max_time_share={self.max_time_share}"
        )

    def _draws(self, seed: int) -> Tensor:
        """Uniform numbers in 0..1: widths and positions, float32 [2, masks]."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(2, self.num_bands + self.num_stretches, generator=generator)


def _outside(draws: Tensor, max_share: float, lengths: Tensor, size: int) -> Tensor:
    """Places that no mask covers.

    Args:
        draws: float32 [B, 2, masks], widths and positions in 0..1.
        max_share: widest mask, as a share of the length.
        lengths: int64 [B].
        size: places.

    Returns:
        bool [B, size].
    """
    draws, total = draws.to(lengths.device), lengths.unsqueeze(1)
    width = (draws[:, 0] * (max_share * total + 1)).floor()
    start = (draws[:, 1] * (total - width + 1)).floor()
    place = torch.arange(size, device=lengths.device)
    inside = (place >= start.unsqueeze(2)) & (place < (start + width).unsqueeze(2))
    return ~inside.any(1)
