"""Whisper's encoder (Radford et al. 2022) on raw waveforms: on the frames there are, not on 30 padded seconds.

The parameters have the names they have in `transformers`, so that published weights load as they are.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixel_mm.models.encoders.encoder import EncoderStates, SpeechEncoder
from pixel_mm.models.encoders.loading import load_published
from pixel_mm.models.frontend import SAMPLE_RATE_HZ, FeatureMask, LogMel, check_lengths, padding_mask, zero_padding
from pixel_mm.pretrained import Weights

_MAX_FRAMES = 1500


class WhisperEncoder(SpeechEncoder):
    """Log-mel front end, two convolutions, transformer layers with normalisation before each block.

    50 frames per second. State 0 is what the convolutions give, with positions added.
    """

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        feed_forward_size: int,
        weights: Weights | None = None,
        pretrained_weights: bool = True,
        num_mels: int = 80,
        last_layer: int | None = None,
        dropout: float = 0.0,
        mask: FeatureMask | None = None,
    ) -> None:
        """Build the encoder and load its weights.

        Args:
            num_layers: layers of the published model.
            hidden_size: D.
            num_heads: attention heads.
            feed_forward_size: width inside the feed-forward blocks.
            weights: where the published weights are.
            pretrained_weights: false leaves random weights: the same architecture, nothing fetched.
            num_mels: mel bands.
            last_layer: use the first so many layers; None uses all. The final normalisation belongs to the last of all.
            dropout: on the output of each block, in training.
            mask: random masks over the spectrogram, for training.

        Raises:
            ValueError: sizes that don't fit together.
            PretrainedError: weights that are not to be had or don't fit.
        """
        super().__init__()
        used = num_layers if last_layer is None else last_layer
        if hidden_size % num_heads or not 1 <= used <= num_layers:
            raise ValueError(
                f"encoder: hidden_size {hidden_size} must be a multiple of num_heads {num_heads}, "
                f"and last_layer {used} in 1..{num_layers}"
            )
        self.num_layers, self.hidden_size, self.frame_rate_hz = used, hidden_size, SAMPLE_RATE_HZ / 320
        self.architecture = {
            "family": "whisper", "layers": used, "of_layers": num_layers, "hidden_size": hidden_size,
            "heads": num_heads, "feed_forward_size": feed_forward_size, "mels": num_mels,
        }  # fmt: skip
        self.log_mel = LogMel(num_mels)
        self.mask = mask
        self.conv1 = nn.Conv1d(num_mels, hidden_size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(hidden_size, hidden_size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = _Positions(_MAX_FRAMES, hidden_size)
        self.layers = nn.ModuleList(
            WhisperLayer(hidden_size, num_heads, feed_forward_size, dropout) for _ in range(used)
        )
        self.layer_norm = nn.LayerNorm(hidden_size) if used == num_layers else None
        self.apply(_initialise)
        if pretrained_weights:
            load_published(self, weights, prefixes=("model.encoder.", "encoder."), ignored=("layers.", "layer_norm."))

    def layer_stack(self) -> nn.ModuleList:
        """Layers in order."""
        return self.layers

    def final_norm(self) -> nn.Module | None:
        """Normalisation after the published model's last layer; None where the encoder stops before it."""
        return self.layer_norm

    def front_end(
        self,
        waveform: Tensor,
        num_samples: Tensor,
        mask_seeds: Tensor | None = None,
        spoken_samples: Tensor | None = None,
    ) -> EncoderStates:
        """State 0: log-mel, masks, convolutions, positions. See `SpeechEncoder`.

        `spoken_samples`, int64 [B], is the part of each utterance that masks over time lie in; None is all of it.
        """
        check_lengths(waveform, num_samples)
        mel, num_mel_frames = self.log_mel(waveform, num_samples)
        if self.mask is not None and mask_seeds is not None:
            spoken = num_mel_frames if spoken_samples is None else spoken_samples // self.log_mel.hop_samples
            mel = self.mask(mel, spoken, mask_seeds)
        hidden = F.gelu(self.conv1(mel.transpose(1, 2)))
        # The second convolution must see zeros after an utterance's end, as it does when the utterance is alone.
        real = padding_mask(num_mel_frames, mel.shape[1])
        hidden = hidden if real is None else hidden * real.unsqueeze(1)
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        num_frames = (num_mel_frames + 1) // 2
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        return EncoderStates((zero_padding(hidden, padding_mask(num_frames, hidden.shape[1])),), num_frames)

    def forward_from(
        self,
        state: Tensor,
        num_frames: Tensor,
        depth: int,
        until: int | None = None,
        attended: Tensor | None = None,
    ) -> EncoderStates:
        """States `depth` + 1 to `until`. See `SpeechEncoder`; `attended` as in `WhisperLayer`, None is what is real."""
        until = self.num_layers if until is None else until
        real = padding_mask(num_frames, state.shape[1])
        if attended is None and real is not None:
            attended = real[:, None, None, :]
        states, hidden = [], state
        for number in range(depth + 1, until + 1):
            hidden = self.layers[number - 1](hidden, attended)
            normalise = self.layer_norm if number == self.num_layers else None
            states.append(zero_padding(hidden if normalise is None else normalise(hidden), real))
        return EncoderStates(tuple(states), num_frames)


class WhisperLayer(nn.Module):
    """Self-attention and feed-forward block, each behind its normalisation and beside a residual path."""

    def __init__(self, hidden_size: int, num_heads: int, feed_forward_size: int, dropout: float) -> None:
        """Build it; sizes as in `WhisperEncoder`."""
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.self_attn = WhisperAttention(hidden_size, num_heads)
        self.final_layer_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, feed_forward_size)
        self.fc2 = nn.Linear(feed_forward_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, attended: Tensor | None) -> Tensor:
        """float [B, F, D] to float [B, F, D]; `attended` [B, 1, 1, F] as in `WhisperAttention.attend`."""
        hidden = hidden + self.dropout(self.self_attn(self.self_attn_layer_norm(hidden), attended))
        return hidden + self.dropout(self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden)))))


class WhisperAttention(nn.Module):
    """Scaled dot-product attention; the key projection has no bias."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        """Build it; sizes as in `WhisperEncoder`."""
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias=False)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, attended: Tensor | None) -> Tensor:
        """float [B, F, D] to float [B, F, D]; `attended` as in `WhisperLayer`."""
        return self.attend(hidden, *self.keys_and_values(hidden), attended)

    def keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Of what is looked at, float [B, F, D]: float [B, heads, F, D / heads] each."""
        return self._by_head(self.k_proj(source)), self._by_head(self.v_proj(source))

    def attend(self, hidden: Tensor, keys: Tensor, values: Tensor, attended: Tensor | None) -> Tensor:
        """Look.

        Args:
            hidden: float [B, N, D], what looks.
            keys: of `keys_and_values`.
            values: of `keys_and_values`.
            attended: to be stretched to [B, heads, N, F]: bool, where may be looked, or float, what is added to the
                scores; None is everywhere alike.

        Returns:
            float [B, N, D].
        """
        query = self._by_head(self.q_proj(hidden))
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=attended)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def look(self, hidden: Tensor, keys: Tensor, attended: Tensor | None) -> Tensor:
        """Where is looked, float [B, heads, N, F], summing to 1 over the last axis; arguments as in `attend`."""
        scores = self._by_head(self.q_proj(hidden)) @ keys.transpose(2, 3) * (keys.shape[3] ** -0.5)
        if attended is not None:
            floats = attended.is_floating_point()
            scores = scores + attended if floats else scores.masked_fill(~attended, float("-inf"))
        return scores.softmax(dim=-1)

    def _by_head(self, values: Tensor) -> Tensor:
        return values.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class _Positions(nn.Module):
    """Sinusoids. Published as a weight, but never trained."""

    weight: Tensor

    def __init__(self, max_frames: int, hidden_size: int) -> None:
        super().__init__()
        half = hidden_size // 2
        rates = torch.exp(-math.log(10_000) / max(half - 1, 1) * torch.arange(half))
        angles = torch.arange(max_frames).unsqueeze(1) * rates
        self.register_buffer("weight", torch.cat((angles.sin(), angles.cos()), dim=1))


def _initialise(module: nn.Module) -> None:
    """Random weights as Whisper's training began: normal with a deviation of 0.02, biases zero."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
