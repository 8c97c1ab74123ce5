"""What every speech encoder offers: raw waveform in, frames out, cut at any layer.

An encoder is a front end followed by numbered layers. `hidden_states` number the places between them: state 0 is what
the front end gives to the first layer, state `k` comes out of layer `k`, and state `num_layers` has passed the final
normalisation, where the encoder has one and is used to its end. A frozen trunk of depth `k` is the front end and layers
1 to k: `forward_from` goes on from its state, which is how a cached trunk is trained on without being run again.

An utterance's frames do not depend on what it is batched with.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

from pixel_mm.models.frontend import FeatureMask


class EncoderStates(NamedTuple):
    """Hidden states of a batch.

    Attributes:
        states: one float tensor [B, F, D] per computed place, ordered by depth. Padding frames are zero.
        num_frames: int64 [B], the frames that belong to each utterance; F is their maximum, or more where the waveform
            has more padding than it needs.
    """

    states: tuple[Tensor, ...]
    num_frames: Tensor


class SpeechEncoder(nn.Module, ABC):
    """Raw speech to frames.

    Attributes:
        num_layers: L, the layers after the front end.
        hidden_size: D.
        frame_rate_hz: frames per second of speech.
        mask: random masks over the features in training, or None.
        architecture: what defines the computation beside the weights, by name: with the same architecture and weights,
            two encoders compute the same.
    """

    num_layers: int
    hidden_size: int
    frame_rate_hz: float
    mask: FeatureMask | None
    architecture: dict[str, Any]

    @property
    def masks(self) -> bool:
        """Whether mask seeds change anything."""
        return self.mask is not None and self.mask.active

    @abstractmethod
    def layer_stack(self) -> nn.ModuleList:
        """The L layers in order. What is neither in it nor in `final_norm` is the front end."""

    @abstractmethod
    def final_norm(self) -> nn.Module | None:
        """The normalisation that state L has passed after layer L, if there is one."""

    @abstractmethod
    def front_end(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> EncoderStates:
        """State 0 of a batch.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1]; what lies beyond an utterance's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s).
            mask_seeds: int64 [B], seeds of the random masks in training; None masks nothing.

        Raises:
            ValueError: an utterance is shorter or longer.
        """

    @abstractmethod
    def forward_from(self, state: Tensor, num_frames: Tensor, depth: int, until: int | None = None) -> EncoderStates:
        """States `depth` + 1 to `until`, computed from state `depth`.

        Args:
            state: float [B, F, D], hidden state `depth`, padding zero.
            num_frames: int64 [B].
            depth: 0 to `until`.
            until: last state to compute; None is L.
        """

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the last layer.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1].
            num_samples: int64 [B].

        Returns:
            Frames, float [B, F, D], zero where there is padding; number of frames, int64 [B].
        """
        encoded = self.all_states(waveform, num_samples)
        return encoded.states[-1], encoded.num_frames

    def all_states(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> EncoderStates:
        """All L + 1 hidden states, float [B, F, D] each."""
        first = self.front_end(waveform, num_samples, mask_seeds)
        rest = self.forward_from(first.states[0], first.num_frames, depth=0)
        return EncoderStates(first.states + rest.states, first.num_frames)
