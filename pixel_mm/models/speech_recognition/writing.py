"""How a recogniser is taught to write, and how what it writes is read: what Whisper and CTC do differently."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from pixel_mm.audio import Waveform


class WritingError(ValueError):
    """A network and a way of writing that do not belong together."""


class Writing(Protocol):
    """One way of writing; `conf/recognizer` names a network's."""

    def check_fits(self, network: Any) -> None:
        """Refuse another network.

        Raises:
            ValueError: it does not write this way, or with other tokens.
        """

    def problem(self, network: Any, transcript: str, num_samples: int) -> str | None:
        """Why a network cannot be taught to write a transcript of so many samples at 16 kHz; None if it can.

        Raises:
            ValueError: the transcript cannot be written at all, whatever its length.
        """

    def losses(
        self,
        network: Any,
        waveform: Tensor,
        num_samples: Tensor,
        transcripts: Sequence[str],
        mask_seeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Loss of each utterance.

        Args:
            network: in training or evaluation mode.
            waveform: float32 [B, T], 16 kHz.
            num_samples: int64 [B].
            transcripts: B of them.
            mask_seeds: int64 [B], of the random masks in training; None masks nothing.

        Returns:
            Sums, float32 [B], in nats; tokens that each is a sum over, int64 [B].
        """

    def transcribe(self, network: Any, waveforms: Sequence[Waveform]) -> list[str]:
        """What a network in evaluation mode writes of some clips, greedily."""

    def save(self, network: Any, folder: Path) -> None:
        """Write what is needed to read the network's scores into a run folder."""

    def fingerprint(self, network: Any) -> str:
        """SHA-256 of what `save` writes."""


def as_taught(transcript: str) -> str:
    """A transcript with single spaces; one all in capitals, as some corpora have them, in small letters."""
    text = " ".join(transcript.split())
    return text.lower() if text.isupper() else text
