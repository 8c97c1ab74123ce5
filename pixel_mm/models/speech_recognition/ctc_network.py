"""A recogniser that names a character or none for each frame (CTC, Graves et al., ICML 2006), on any speech encoder."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pixel_mm.ctc_vocabulary import CtcVocabulary
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.encoders.encoder import SpeechEncoder
from pixel_mm.models.freezing import rest_frozen_parts
from pixel_mm.models.frontend import padding_mask, zero_padding


class CtcRecognizer(DescribedNetwork):
    """Encoder and a linear layer.

    Attributes:
        vocabulary: characters by class.
    """

    def __init__(self, encoder: SpeechEncoder, characters: Sequence[str], dropout: float = 0.1) -> None:
        """Join the parts.

        Args:
            encoder: wav2vec 2.0, HuBERT, WavLM or any other.
            characters: those that can be written, in the order of their classes from 1; class 0 is the blank.
            dropout: on the encoder's frames, in training.

        Raises:
            VocabularyError: characters that make no vocabulary.
        """
        super().__init__()
        self.vocabulary = CtcVocabulary(characters)
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(encoder.hidden_size, self.vocabulary.num_classes)

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, by name, in plain types."""
        return {"encoder": dict(self.encoder.architecture), "characters": list(self.vocabulary.characters)}

    def train(self, mode: bool = True) -> "CtcRecognizer":
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self.children():
            rest_frozen_parts(part)
        return self

    def forward(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score the classes in each frame.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1]; what lies beyond an utterance's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s).
            mask_seeds: int64 [B], seeds of the encoder's random masks in training; None masks nothing.

        Returns:
            Log-probabilities float32 [B, F, C], zero beyond an utterance's end; its frames, int64 [B].

        Raises:
            ValueError: an utterance is shorter or longer.
        """
        encoded = self.encoder.all_states(waveform, num_samples, mask_seeds)
        scores = self.head(self.dropout(encoded.states[-1])).float().log_softmax(-1)
        return zero_padding(scores, padding_mask(encoded.num_frames, scores.shape[1])), encoded.num_frames
