"""The emotion regressor: speech in; valence, arousal and dominance out, and the logits of emotion categories."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.encoders.encoder import SpeechEncoder
from pixel_mm.models.freezing import frozen_depth, rest_frozen_parts
from pixel_mm.models.frontend import check_lengths, full_precision, normalise_level
from pixel_mm.models.pooling import AttentiveStatistics, LayerWeightedSum, average_neighbours

DIMENSIONS = ("valence", "arousal", "dominance")


class EmotionOutput(NamedTuple):
    """What the regressor says about a batch.

    Attributes:
        scores: float32 [B, len(dimensions)], 0..1: from negative to positive valence, calm to excited arousal,
            submissive to dominant.
        emotion_logits: float32 [B, C], one per emotion label; softmax gives probabilities. C may be 0.
        embedding: float32 [B, E], what both are read from: mean and deviation of the projected frames.
    """

    scores: Tensor
    emotion_logits: Tensor
    embedding: Tensor


class TrunkOutput(NamedTuple):
    """Hidden states at the top of a frozen trunk, and below it where the weighted sum takes them.

    Attributes:
        states: float32 [B, S, F, D], ascending by depth; zero where there is padding.
        num_frames: int64 [B].
    """

    states: Tensor
    num_frames: Tensor


class EmotionRegressor(DescribedNetwork):
    """Speech encoder, layer-weighted sum, projection, attentive statistics, two linear heads.

    Every utterance is brought to one level first, so any recording may be given as it is.

    Attributes:
        encoder: its hidden states are what is read.
        dimensions: names of the scores, in order.
        emotion_labels: names of the logits, in order.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        emotion_labels: Sequence[str],
        states: Sequence[int] | None = None,
        projection_size: int = 256,
        attention_size: int = 64,
        dropout: float = 0.1,
        dimensions: Sequence[str] = DIMENSIONS,
        frame_stride: int = 1,
        stride_depth: int = 0,
    ) -> None:
        """Build the head on an encoder.

        Args:
            encoder: speech encoder.
            emotion_labels: categories of the auxiliary head; may be empty.
            states: hidden states in the weighted sum, ascending; the last one must be the encoder's last. Negative
                numbers count from the last, -1. None takes all.
            projection_size: width of the frames that are pooled.
            attention_size: width of the pooling's scoring network.
            dropout: of the frames that are projected and of the embedding, in training.
            dimensions: names of the scores.
            frame_stride: neighbouring frames that are averaged into one: the layers above run on so many fewer. How
                something is said changes slower than the words.
            stride_depth: hidden state that is averaged, 0 to L; those below it are when they are summed.

        Raises:
            ValueError: states that the encoder has not, or layers above the last of them, which would never be used.
        """
        super().__init__()
        self.dimensions, self.emotion_labels = tuple(dimensions), tuple(emotion_labels)
        self.state_numbers = _check_states(states, encoder.num_layers)
        if frame_stride < 1 or not 0 <= stride_depth <= encoder.num_layers:
            raise ValueError(
                f"model.frame_stride is {frame_stride} and model.stride_depth {stride_depth}; "
                f"need 1 or more, and 0 to {encoder.num_layers}"
            )
        self.frame_stride, self.stride_depth = frame_stride, stride_depth
        self.encoder = encoder
        self.layer_sum = LayerWeightedSum(len(self.state_numbers), encoder.hidden_size)
        self.projection = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.hidden_size, projection_size), nn.GELU())
        self.pooling = AttentiveStatistics(projection_size, attention_size)
        self.dropout = nn.Dropout(dropout)
        self.score_head = nn.Linear(2 * projection_size, len(self.dimensions))
        self.emotion_head = nn.Linear(2 * projection_size, len(self.emotion_labels))

    @property
    def trunk_depth(self) -> int | None:
        """Deepest hidden state that training cannot change; None where everything is trained."""
        return frozen_depth(self.encoder)

    @property
    def trunk_states(self) -> tuple[int, ...]:
        """Numbers of the states that `trunk` gives: those of the weighted sum below its top, and its top."""
        depth = self.trunk_depth or 0
        return (*(number for number in self.state_numbers if number < depth), depth)

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, by name, in plain types."""
        return {
            "encoder": dict(self.encoder.architecture),
            "states": list(self.state_numbers),
            "frame_stride": self.frame_stride,
            "stride_depth": self.stride_depth if self.frame_stride > 1 else 0,
            "dimensions": list(self.dimensions),
            "emotion_labels": list(self.emotion_labels),
        }

    def train(self, mode: bool = True) -> "EmotionRegressor":
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self.children():  # not itself: where nothing is trained, that would call this again
            rest_frozen_parts(part)
        return self

    def forward(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> EmotionOutput:
        """Score a batch.

        Args:
            waveform: float32 [B, T], 16 kHz, any level; what lies beyond an utterance's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s).
            mask_seeds: int64 [B], seeds of the encoder's random masks in training; None masks nothing.

        Raises:
            ValueError: an utterance is shorter or longer.
        """
        return self.read(*self.hidden_states(waveform, num_samples, mask_seeds))

    def hidden_states(
        self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """The states of the weighted sum, float [B, F, D] each, and int64 [B] frames; arguments as in `forward`."""
        states, num_frames = self._trunk_states(waveform, num_samples, mask_seeds)
        return self._above(states, num_frames)

    def read(self, states: Sequence[Tensor], num_frames: Tensor) -> EmotionOutput:
        """The head alone: what it says of hidden states.

        Args:
            states: those of the weighted sum, float [B, F, D] each.
            num_frames: int64 [B].
        """
        frames = self.projection(self.layer_sum(states))
        embedding = self.dropout(self.pooling(frames, num_frames))
        with full_precision(embedding.device.type):
            embedding = embedding.float()
            return EmotionOutput(self.score_head(embedding).sigmoid(), self.emotion_head(embedding), embedding)

    def trunk(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> TrunkOutput:
        """The part of `forward` that training cannot change; arguments as there.

        Raises:
            ValueError: the front end is trained, so there is no such part.
        """
        if self.trunk_depth is None:
            raise ValueError("the encoder's front end is trained: there is no frozen trunk whose output could be kept")
        states, num_frames = self._trunk_states(waveform, num_samples, mask_seeds)
        return TrunkOutput(torch.stack(states, dim=1), num_frames)

    def from_trunk(self, states: Tensor, num_frames: Tensor) -> EmotionOutput:
        """The rest of `forward`.

        Args:
            states: float [B, S, F, D], what `trunk` gave.
            num_frames: int64 [B].
        """
        return self.read(*self.hidden_states_from_trunk(states, num_frames))

    def hidden_states_from_trunk(self, states: Tensor, num_frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """As `hidden_states`, from what `trunk` gave."""
        return self._above(states.float().unbind(1), num_frames)

    def _trunk_states(
        self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        check_lengths(waveform, num_samples)
        with full_precision(waveform.device.type):
            waveform = normalise_level(waveform.float(), num_samples)
        first = self.encoder.front_end(waveform, num_samples, mask_seeds)
        kept = self.trunk_states
        states, num_frames = self._climb({0: first.states[0]}, first.num_frames, kept[-1], averaged=False)
        return tuple(states[number] for number in kept), num_frames

    def _climb(
        self, states: dict[int, Tensor], num_frames: Tensor, depth: int, averaged: bool
    ) -> tuple[dict[int, Tensor], Tensor]:
        """All states by number, up to `depth`, averaged where that is passed on the way."""
        if not averaged and depth >= self.stride_depth:
            states = self._run_layers(states, num_frames, self.stride_depth)
            stride = self.frame_stride
            states = {number: average_neighbours(state, num_frames, stride) for number, state in states.items()}
            num_frames = (num_frames + stride - 1) // stride
        return self._run_layers(states, num_frames, depth), num_frames

    def _run_layers(self, states: dict[int, Tensor], num_frames: Tensor, depth: int) -> dict[int, Tensor]:
        top = max(states)
        rest = self.encoder.forward_from(states[top], num_frames, top, until=depth).states if depth > top else ()
        return states | dict(enumerate(rest, start=top + 1))

    def _above(self, states: tuple[Tensor, ...], num_frames: Tensor) -> tuple[list[Tensor], Tensor]:
        kept = dict(zip(self.trunk_states, states, strict=True))
        averaged = max(kept) >= self.stride_depth
        by_number, num_frames = self._climb(kept, num_frames, self.encoder.num_layers, averaged)
        return [by_number[number] for number in self.state_numbers], num_frames


def _check_states(states: Sequence[int] | None, num_layers: int) -> tuple[int, ...]:
    if states is None:
        return tuple(range(num_layers + 1))
    numbers = [number + num_layers + 1 if number < 0 else number for number in states]
    if not numbers or sorted(set(numbers)) != numbers or numbers[0] < 0 or numbers[-1] > num_layers:
        raise ValueError(f"model.states is {list(states)}; give ascending numbers of hidden states, 0 to {num_layers}")
    if numbers[-1] < num_layers:
        raise ValueError(
            f"model.states ends with {numbers[-1]}, so layers {numbers[-1] + 1} to {num_layers} would run for nothing: "
            f"set encoder.last_layer to {numbers[-1]}"
        )
    return tuple(numbers)
