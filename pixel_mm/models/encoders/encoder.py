"""What every speech encoder offers: raw waveform in, frames out, cut at any layer.

An encoder is a front end followed by numbered layers. `hidden_states` number the places between them: state 0 is
what the front end gives to the first layer, state `k` comes out of layer `k`, and state `num_layers` has passed the
final normalisation. A frozen trunk of depth `k` is the front end and layers 1 to k: `forward_from` goes on from its
state, which is how a cached trunk is trained on without being run again.

An utterance's frames do not depend on what it is batched with.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class EncoderStates(NamedTuple):
    """Hidden states of a batch.

    Attributes:
        states: one float tensor [B, F, D] per computed place, ordered by depth. Padding frames are zero.
        num_frames: int64 [B], the frames that belong to each utterance; F is their maximum.
    """

    states: tuple[Tensor, ...]
    num_frames: Tensor


class SpeechEncoder(nn.Module, ABC):
    """Raw speech to frames.

    Attributes:
        num_layers: L, the layers after the front end.
        hidden_size: D.
        frame_rate_hz: frames per second of speech.
    """

    num_layers: int
    hidden_size: int
    frame_rate_hz: float

    @abstractmethod
    def front_end(self, waveform: Tensor, num_samples: Tensor) -> EncoderStates:
        """State 0 of a batch.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1]; what lies beyond an utterance's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s).
        """

    @abstractmethod
    def forward_from(self, state: Tensor, num_frames: Tensor, depth: int) -> EncoderStates:
        """States `depth` + 1 to L, computed from state `depth`.

        Args:
            state: float [B, F, D], hidden state `depth`, padding zero.
            num_frames: int64 [B].
            depth: 0 to L - 1.
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

    def all_states(self, waveform: Tensor, num_samples: Tensor) -> EncoderStates:
        """All L + 1 hidden states, float [B, F, D] each."""
        first = self.front_end(waveform, num_samples)
        rest = self.forward_from(first.states[0], first.num_frames, depth=0)
        return EncoderStates(first.states + rest.states, first.num_frames)
