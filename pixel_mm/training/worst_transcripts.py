"""The utterances that a trained recogniser gets most wrong, to be read and listened to."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from pixel_mm.data.batching import WaveformBatch
from pixel_mm.metrics.error_rates import ErrorCounts, count_errors, normaliser
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.speech_recognition.writing import Writing


@dataclass(frozen=True)
class WrongTranscript:
    """What a model wrote of one utterance.

    Attributes:
        index: the data module's row.
        key: name of the clip.
        said: its transcript, normalised.
        heard: what the model wrote, normalised.
        errors: of its words.
    """

    index: int
    key: str
    said: str
    heard: str
    errors: ErrorCounts

    @property
    def cells(self) -> dict[str, object]:
        """What a table says of it, by column."""
        rate = self.errors.rate if self.errors.references else None
        return {"errors": self.errors.errors, "word error rate": rate, "said": self.said, "heard": self.heard}


@torch.inference_mode()
def worst_transcripts(
    network: DescribedNetwork, writing: Writing, batches: Iterable[WaveformBatch], count: int
) -> list[WrongTranscript]:
    """The utterances with most word errors, and of those with as many the shortest first; none that is right.

    Args:
        network: in evaluation mode.
        writing: how it writes.
        batches: of transcribed clips.
        count: how many to give at most.
    """
    same = normaliser("basic")
    found = []
    for batch in batches:
        clips = [row[:size].numpy() for row, size in zip(batch.waveform, batch.num_samples.tolist(), strict=True)]
        for row, text in enumerate(writing.transcribe(network, clips)):
            said, heard = same(batch.transcripts[row] or ""), same(text)
            errors = count_errors(said, heard)
            found.append(WrongTranscript(int(batch.index[row]), batch.keys[row], said, heard, errors))
    wrong = [each for each in found if each.errors.errors]
    return sorted(wrong, key=lambda each: (-each.errors.errors, each.errors.references, each.key))[:count]
