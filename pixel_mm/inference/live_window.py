"""A window of speech in a stream: heard again and again while it grows, until it is a segment of the transcript."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixel_mm.audio import MIN_SAMPLES, SAMPLE_RATE_HZ, Waveform, normalise_level
from pixel_mm.inference.agreement import Agreement
from pixel_mm.inference.doubt import is_believable
from pixel_mm.inference.recognition_engines import RecognitionEngine
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.transcript import Segment, Word
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis


class LiveWindow:
    """What is said from some sample of a stream on.

    Args:
        engine: runs the model.
        options: how to search.
        timed: whether words get their times, when they become final.
        start: first sample of the window.
        before: final words of the window before, if the beginning of this one repeats it.
        shared: samples that this window repeats.

    Attributes:
        start: first sample of the window.
        end: sample after the last that was heard, in this window or the one before.
        language: that the final words are in; None before there are any.
        calibrated: whether its confidence is; None before there are final words.
    """

    def __init__(
        self, engine: RecognitionEngine, options: DecodingOptions, timed: bool, start: int,
        before: Sequence[str] = (), shared: int = 0,
    ) -> None:  # fmt: skip
        """Begin with a window of which nothing was heard yet."""
        self._engine, self._options, self._timed, self._shared = engine, options, timed, shared
        self._agreement = Agreement(before)
        self._words: list[str] = []
        self._hypothesis: Hypothesis | None = None  # the last that could be believed
        self._confidences: list[float] = []
        self._times: list[Word] = []
        self.start, self.end = start, start + shared
        self.language: str | None = None
        self.calibrated: bool | None = None

    @property
    def final(self) -> list[str]:
        """Words that will not change, each with the space before it."""
        return self._agreement.final

    @property
    def tentative(self) -> list[str]:
        """Words after those, which may change."""
        return self._agreement.tentative

    def hear(self, samples: Waveform) -> None:
        """Hear what there is of the window so far.

        Args:
            samples: float32 [T], from its start on, at any level.
        """
        self._transcribe(samples)
        self._keep(self._agreement.hear(self._words, self._share(self._shared)), samples)

    def close(self, samples: Waveform, left_open: int = 0) -> None:
        """Hear the window for the last time; all words become final.

        Args:
            samples: float32 [T], from its start on, at any level.
            left_open: samples at the end that the next window has, too. The words of their second half are left to it.
        """
        if self.start + samples.size != self.end:
            self._transcribe(samples)
        open_words = round(len(self._words) * self._share(left_open) / 2)
        self._keep(self._agreement.close(self._words, self._share(self._shared), open_words), samples)

    def segment(self, end: int) -> Segment | None:
        """The final words as a segment; None if there are none.

        Args:
            end: sample after it.
        """
        if not self.final or self._hypothesis is None:
            return None
        own = float(np.exp(self._hypothesis.mean_log_probability))
        segment = Segment(
            text=self.text,
            start_seconds=self.start / SAMPLE_RATE_HZ,
            end_seconds=end / SAMPLE_RATE_HZ,
            confidence=float(np.mean(self._confidences)) if self.calibrated else own,
            no_speech_probability=self._hypothesis.no_speech_probability,
        )
        if not self._times:
            return segment
        first, last = self._times[0].start_seconds, self._times[-1].end_seconds
        return replace(segment, start_seconds=first, end_seconds=last, words=tuple(self._times))

    @property
    def text(self) -> str:
        """The final words."""
        return "".join(self.final).strip()

    def _share(self, samples: int) -> float:
        return samples / max(1, self.end - self.start)

    def _transcribe(self, samples: Waveform) -> None:
        self._words, self.end = [], self.start + samples.size
        clip = samples - samples.mean()
        if samples.size < MIN_SAMPLES or not clip.any():
            return
        (found,) = self._engine.transcribe([normalise_level(clip)], self._options)
        text = self._engine.text(found)
        if is_believable(text) and not self._engine.is_doubtful(found):
            self._hypothesis, self._words = found, split_words(f" {text}")

    def _keep(self, places: range, samples: Waveform) -> None:
        """Note what else is known of words that have become final."""
        if not places or self._hypothesis is None:
            return
        if self.language is None:
            self.language = self._hypothesis.language
            self._options = replace(self._options, language=self.language)
        sure = self._engine.confidences(self._hypothesis)
        self.calibrated = sure is not None
        self._confidences += [] if sure is None else [sure[place] for place in places]
        if self._timed:
            clip = normalise_level(samples - samples.mean())
            timed = self._engine.words(clip, self._hypothesis, self._options)
            for place in places:
                self._times.append(self._moved(timed[place], None if sure is None else sure[place]))

    def _moved(self, word: Word, sure: float | None) -> Word:
        """With its time in the stream, behind the words that an earlier hearing timed."""
        moved = word.moved(self.start / SAMPLE_RATE_HZ)
        earliest = self._times[-1].end_seconds if self._times else 0.0
        start = max(moved.start_seconds, earliest)
        return replace(
            moved,
            start_seconds=start,
            end_seconds=max(moved.end_seconds, start),
            confidence=word.confidence if sure is None else sure,
        )
