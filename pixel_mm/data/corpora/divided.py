"""A corpus whose long recordings are divided together with their transcripts, so that no text is cut at a guess."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

from pixel_mm.audio import MAX_SECONDS, SAMPLE_RATE_HZ, AudioError, Waveform, read_audio
from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.corpora.crops import duration_of
from pixel_mm.data.utterance import Utterance

log = logging.getLogger(__name__)


class Division(NamedTuple):
    """A part of a recording and what is said in it; samples at 16 kHz, end exclusive."""

    start: int
    end: int
    transcript: str


class DivisionError(ValueError):
    """A recording whose transcript cannot be divided; the message says why."""


class Divider(Protocol):
    """Finds where a transcript can be divided."""

    def __call__(self, waveform: Waveform, transcript: str) -> list[Division]:
        """Parts of 30 s at most, in order, that together have every word of the transcript.

        Args:
            waveform: float32 [samples], 16 kHz.
            transcript: of all of it.

        Raises:
            DivisionError: there are no such parts that one can be sure of.
        """


class DividedCorpus(Corpus):
    """Another corpus, with each transcribed utterance over 30 s as several that are shorter.

    One that cannot be divided stays as it is, with a warning: whoever trains on transcripts leaves it out.
    """

    def __init__(self, corpus: Corpus, divider: Divider) -> None:
        """Choose who divides the corpus's utterances."""
        super().__init__(corpus.root)
        self.title, self.url, self.licence = corpus.title, corpus.url, corpus.licence  # type: ignore[misc]
        self.language, self.expected = corpus.language, corpus.expected  # type: ignore[misc]
        self.corpus, self.divider = corpus, divider

    def read(self) -> list[Utterance]:
        """The utterances in the corpus's order, parts by time.

        Raises:
            CorpusError: see the corpus's reader; a file that is no audio.
        """
        return [part for utterance in self.corpus.read() for part in self._parts(utterance)]

    def _parts(self, utterance: Utterance) -> Iterator[Utterance]:
        start = utterance.start_seconds or 0.0
        if utterance.transcript is None or _seconds(utterance) <= MAX_SECONDS:
            yield utterance
            return
        try:
            clip = read_audio(utterance.path, utterance.start_seconds, utterance.end_seconds)
            divisions = self.divider(clip.waveform, utterance.transcript)
        except (AudioError, DivisionError) as error:
            log.warning("%s was not divided: %s", utterance.key, error)
            yield utterance
            return
        for division in divisions:
            yield replace(
                utterance,
                start_seconds=start + division.start / SAMPLE_RATE_HZ,
                end_seconds=start + division.end / SAMPLE_RATE_HZ,
                transcript=division.transcript,
            )


def _seconds(utterance: Utterance) -> float:
    """Length; 0 of a file that cannot be read, which is reported where clips are looked at."""
    if utterance.end_seconds is not None:
        return utterance.end_seconds - (utterance.start_seconds or 0.0)
    try:
        return duration_of(utterance.path) - (utterance.start_seconds or 0.0)
    except ValueError:
        return 0.0
