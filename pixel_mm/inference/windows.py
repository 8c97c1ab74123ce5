"""What was understood of a recording's windows, so that no words are lost or written twice where they meet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.inference.doubt import is_believable
from pixel_mm.inference.recognition_engines import RecognitionEngine
from pixel_mm.inference.seams import join_words, split_words
from pixel_mm.inference.transcript import Segment, Word
from pixel_mm.inference.voice_activity import MARGIN_SECONDS
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis

_WINDOWS_AT_ONCE = 8
# Read speech has two to three words a second. Words that begin more rarely than this were left out.
_LEAST_WORDS_PER_SECOND = 0.5

Place = tuple[int, int]
Reader = Callable[[int, int], Waveform]


@dataclass(slots=True)
class Piece:
    """What was understood of a window.

    Attributes:
        place: of the window, (start, end) in samples.
        words: each with the space before it.
        hypothesis: what they are from.
        timed: the same words with their times in the window; none if nobody asked for them.
        confidences: of the words, 0..1; None if nobody calibrated the model.
    """

    place: Place
    words: list[str]
    hypothesis: Hypothesis
    timed: list[Word]
    confidences: list[float] | None

    def cut(self, first: int, end: int) -> None:
        """Keep the words from number `first` to before number `end`."""
        self.words, self.timed = self.words[first:end], self.timed[first:end]
        if self.confidences is not None:
            self.confidences = self.confidences[first:end]


class Listener:
    """Understands windows, each as a whole; what a model leaves out of it behind a pause is heard again by itself.

    Whisper is used to end its transcript at a pause, and so what was said behind may be missing.

    Args:
        engine: runs the model.
        options: how to search.
        parts: (start, end) in samples of what has no pause inside, in order.
        timed: whether words have their times.
    """

    def __init__(
        self, engine: RecognitionEngine, options: DecodingOptions, parts: Sequence[Place], timed: bool
    ) -> None:
        """Listen with a model."""
        self._engine, self._options, self._parts, self._timed = engine, options, parts, timed

    def understand(self, places: Sequence[Place], read: Reader) -> list[Piece]:
        """What can be believed of windows; the first of it decides the language where none was given.

        Args:
            places: (start, end) in samples, in order; neighbours may overlap.
            read: gives the samples of a place, levelled.

        Returns:
            In order, without what both of two neighbours have of where they overlap.
        """
        pieces: list[Piece] = []
        for place, clip, hypothesis in self._heard(places, read):
            for piece in self._complete(place, clip, hypothesis, read):
                _cut_seam(pieces, piece)
                pieces.append(piece)
        return pieces

    def _heard(self, places: Sequence[Place], read: Reader) -> Iterator[tuple[Place, Waveform, Hypothesis]]:
        first = 0
        while first < len(places):
            size = _WINDOWS_AT_ONCE if self._options.language is not None else 1
            batch = places[first : first + size]
            first += size
            clips = [read(*place) for place in batch]
            yield from zip(batch, clips, self._engine.transcribe(clips, self._options), strict=True)

    def _complete(self, place: Place, clip: Waveform, hypothesis: Hypothesis, read: Reader) -> list[Piece]:
        """A window, or its parts one by one if they hold more words and some of the window's seem to be missing."""
        parts = [part for part in self._parts if place[0] <= part[0] and part[1] <= place[1]]
        whole = self._believed(place, clip, hypothesis, timed=self._timed or len(parts) > 1)
        if len(parts) > 1 and not (whole and _covers(whole, parts)):
            found = [self._believed(*heard, timed=self._timed) for heard in self._heard(parts, read)]
            pieces = [piece for piece in found if piece is not None]
            if whole is None or sum(len(piece.words) for piece in pieces) > len(whole.words):
                return pieces
        if whole is None:
            return []
        if not self._timed:
            whole.timed = []
        return [whole]

    def _believed(self, place: Place, clip: Waveform, hypothesis: Hypothesis, timed: bool) -> Piece | None:
        text = self._engine.text(hypothesis)
        if not is_believable(text) or self._engine.is_doubtful(hypothesis):
            return None
        self._options = replace(self._options, language=hypothesis.language)
        words = self._engine.words(clip, hypothesis, self._options) if timed else []
        return Piece(place, split_words(text), hypothesis, words, self._engine.confidences(hypothesis))


def _covers(piece: Piece, parts: Sequence[Place]) -> bool:
    """Whether each part has words that begin in it."""
    begun = [piece.place[0] + word.start_seconds * SAMPLE_RATE_HZ for word in piece.timed]
    for start, end in parts:
        seconds = (end - start) / SAMPLE_RATE_HZ - 2 * MARGIN_SECONDS
        if sum(start <= moment < end for moment in begun) < max(1.0, _LEAST_WORDS_PER_SECOND * seconds):
            return False
    return True


def _cut_seam(pieces: Sequence[Piece], after: Piece) -> None:
    """Leave out, in both, what the last piece and the next both have of where they overlap."""
    shared = pieces[-1].place[1] - after.place[0] if pieces else 0
    if shared <= 0:
        return
    before = pieces[-1]
    shares = (shared / (piece.place[1] - piece.place[0]) for piece in (before, after))
    kept, left_out = join_words(before.words, after.words, *shares)
    before.cut(0, kept)
    after.cut(left_out, len(after.words))


def make_segment(piece: Piece, stretches: Sequence[Place]) -> Segment:
    """A piece with its times: from where somebody begins to speak in its window to where the last one stops.

    Words that were timed tell it better.

    Args:
        piece: with words.
        stretches: (start, end) in samples, where somebody speaks.
    """
    start, end = piece.place
    inside = [stretch for stretch in stretches if stretch[0] < end and stretch[1] > start]
    own = float(np.exp(piece.hypothesis.mean_log_probability))
    segment = Segment(
        text="".join(piece.words).strip(),
        start_seconds=max(start, inside[0][0]) / SAMPLE_RATE_HZ,
        end_seconds=min(end, inside[-1][1]) / SAMPLE_RATE_HZ,
        confidence=own if piece.confidences is None else float(np.mean(piece.confidences)),
        no_speech_probability=piece.hypothesis.no_speech_probability,
    )
    if not piece.timed:
        return segment
    sure = piece.confidences or [word.confidence for word in piece.timed]
    words = tuple(
        replace(word.moved(start / SAMPLE_RATE_HZ), confidence=confidence)
        for word, confidence in zip(piece.timed, sure, strict=True)
    )
    return replace(segment, start_seconds=words[0].start_seconds, end_seconds=words[-1].end_seconds, words=words)
