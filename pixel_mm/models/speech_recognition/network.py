"""Whisper (Radford et al. 2022) for recognition: raw waveform in, scores of the next token out.

The published network hears 30 s whatever an utterance's length, padded with silence. With `context: short` it hears
the frames there are, half a second of silence, and a few frames that stand for the rest of the silence (`rest_frames`),
which is many times less work. Published weights make a few more errors so; `experiment=whisper_dynamic_context` trains
them for it.
"""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.encoders.encoder import EncoderStates
from pixel_mm.models.encoders.whisper import WhisperEncoder
from pixel_mm.models.freezing import rest_frozen_parts
from pixel_mm.models.frontend import check_lengths, padding_mask, zero_padding
from pixel_mm.models.speech_recognition.decoder import Cache, WhisperDecoder
from pixel_mm.models.speech_recognition.rest_frames import REST_FRAMES, add_rest, rest_weights

Context = Literal["full", "short"]
TAIL_SAMPLES = SAMPLE_RATE_HZ // 2
"""Silence that short context adds to an utterance in full: published weights look for it to find the end."""


class WhisperRecognizer(DescribedNetwork):
    """Encoder and decoder.

    Its state dict has the names of `transformers.WhisperForConditionalGeneration` behind `model.`.

    Attributes:
        context: "full" hears 30 s, "short" the frames there are, 0.5 s of silence, and 64 frames for the rest of it.
    """

    def __init__(self, encoder: WhisperEncoder, decoder: WhisperDecoder, context: Context = "full") -> None:
        """Join the parts.

        Args:
            encoder: with all layers.
            decoder: of the same hidden size.
            context: see the class.

        Raises:
            ValueError: the parts are not of one model, or the context is no such.
        """
        super().__init__()
        if encoder.hidden_size != decoder.hidden_size or encoder.final_norm() is None:
            raise ValueError(
                f"the decoder (hidden size {decoder.hidden_size}) needs a whole encoder of the same size; it has "
                f"{encoder.num_layers} layers of {encoder.hidden_size}{'' if encoder.final_norm() else ', cut'}"
            )
        if context not in ("full", "short"):
            raise ValueError(f"context is '{context}'; it is full or short")
        self.encoder, self.decoder = encoder, decoder
        self.context: Context = context

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, by name, in plain types."""
        return {
            "encoder": dict(self.encoder.architecture),
            "decoder": dict(self.decoder.architecture),
            "context": self.context,
        }

    def train(self, mode: bool = True) -> "WhisperRecognizer":
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self.children():
            rest_frozen_parts(part)
        return self

    def hear(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode speech.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1]; what lies beyond an utterance's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s).
            mask_seeds: int64 [B], seeds of the encoder's random masks in training; None masks nothing.

        Returns:
            Frames float [B, F, D] and their number int64 [B]: 1500 of each where the context is full; where it is short
            the first `num_rest_frames` stand for the rest, then the utterance's own begin.

        Raises:
            ValueError: an utterance is shorter or longer.
        """
        encoded = self.hear_states(waveform, num_samples, mask_seeds)
        return encoded.states[-1], encoded.num_frames

    def hear_states(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> EncoderStates:
        """All hidden states of the encoder; arguments as in `hear`."""
        check_lengths(waveform, num_samples)
        spoken = num_samples  # a mask over a share of 30 padded seconds would hide a short utterance whole
        waveform = zero_padding(waveform, padding_mask(num_samples, waveform.shape[1]))
        if self.context == "full":
            waveform = F.pad(waveform, (0, MAX_SAMPLES - waveform.shape[1]))
            num_samples = num_samples * 0 + MAX_SAMPLES
        else:
            waveform = F.pad(waveform, (0, TAIL_SAMPLES))[:, :MAX_SAMPLES]
            num_samples = (num_samples + TAIL_SAMPLES).clamp(max=MAX_SAMPLES)
        first = self.encoder.front_end(waveform, num_samples, mask_seeds, spoken)
        if self.context == "short":
            state = add_rest(first.states[0], first.num_frames, self.encoder.embed_positions.weight)
            first = EncoderStates((state,), first.num_frames + REST_FRAMES)
        attended = self.attended(first.num_frames, first.states[0].shape[1])
        deeper = self.encoder.forward_from(first.states[0], first.num_frames, depth=0, attended=attended)
        return EncoderStates(first.states + deeper.states, first.num_frames)

    @property
    def num_rest_frames(self) -> int:
        """Frames before an utterance's own, which stand for the silence behind it."""
        return REST_FRAMES if self.context == "short" else 0

    def attended(self, num_frames: Tensor, size: int) -> Tensor | None:
        """How much is looked at each frame; see `WhisperAttention.attend`.

        Args:
            num_frames: int64 [B], of `hear`.
            size: F, frames of the batch.

        Returns:
            [B, 1, 1, F]: bool where the context is full, what is added to scores float32 where it is short. None where
            all are looked at alike.
        """
        if self.context == "short":
            return rest_weights(num_frames, size)
        real = padding_mask(num_frames, size)
        return None if real is None else real[:, None, None, :]

    def forward(
        self, waveform: Tensor, num_samples: Tensor, tokens: Tensor, mask_seeds: Tensor | None = None
    ) -> Tensor:
        """Scores of the token after each of `tokens`, for training and teacher forcing.

        Args:
            waveform: see `hear`.
            num_samples: see `hear`.
            tokens: int64 [B, N], the prompt and the transcript, then anything.
            mask_seeds: see `hear`.

        Returns:
            float [B, N, V].
        """
        return self.teach(tokens, *self.hear(waveform, num_samples, mask_seeds))

    def teach(self, tokens: Tensor, frames: Tensor, num_frames: Tensor) -> Tensor:
        """Scores of the token after each of `tokens`, from what was heard.

        Args:
            tokens: int64 [B, N].
            frames: float [B, F, D], of `hear`.
            num_frames: int64 [B].

        Returns:
            float [B, N, V].
        """
        return self.step(tokens, self.decoder.hear(frames), num_frames, self.decoder.no_past(tokens.shape[0]))[0]

    def step(self, tokens: Tensor, speech: Cache, num_frames: Tensor, past: Cache) -> tuple[Tensor, Cache]:
        """Scores of the token after each of some more tokens.

        Args:
            tokens: int64 [B, N]: the prompt, then one token at a time.
            speech: `decoder.hear` of the frames.
            num_frames: int64 [B].
            past: `decoder.no_past`, then what the step before gave.

        Returns:
            float [B, N, V]; keys and values of all tokens so far.
        """
        attended = self.attended(num_frames, speech[0][0].shape[2])
        hidden, present = self.decoder(tokens, speech, attended, past)
        return self.decoder.logits(hidden), present
