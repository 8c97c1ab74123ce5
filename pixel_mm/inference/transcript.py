"""What recognising speech gives, and its subtitles: shared by all that recognises."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Word:
    """One word.

    Attributes:
        text: as it is written, without spaces around it.
        start_seconds: where it begins in the audio given.
        end_seconds: where it ends.
        confidence: that it was said, 0 to 1; see `Transcript.calibrated`.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float

    def moved(self, seconds: float) -> "Word":
        """The same, that much later."""
        return replace(self, start_seconds=self.start_seconds + seconds, end_seconds=self.end_seconds + seconds)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech.

    Attributes:
        text: what was said, without spaces around it.
        start_seconds: where it begins in the audio given.
        end_seconds: where it ends.
        confidence: 0 to 1: what share of its words was said, if calibrated; else the mean probability (geometric) of
            its tokens as the model has it.
        no_speech_probability: that nobody speaks, as the model has it, 0 to 1.
        words: with their times, where they were asked for; empty else.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()

    def moved(self, seconds: float) -> "Segment":
        """The same, that much later."""
        words = tuple(word.moved(seconds) for word in self.words)
        start, end = self.start_seconds + seconds, self.end_seconds + seconds
        return replace(self, start_seconds=start, end_seconds=end, words=words)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        segments: in order; none where nobody speaks.
        language: ISO 639-1 code that was given or, of the first speech, found; None where nobody speaks and none was
            given.
        duration_seconds: of the recording.
        calibrated: whether confidence is how often such words are right, or only the model's own probability.
    """

    segments: tuple[Segment, ...]
    language: str | None
    duration_seconds: float
    calibrated: bool = False

    @property
    def text(self) -> str:
        """All of it; empty where nobody speaks."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, where their times were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def confidence(self) -> float | None:
        """Mean of the segments', by how long they are; None where nobody speaks."""
        lengths = [segment.end_seconds - segment.start_seconds for segment in self.segments]
        if not lengths:
            return None
        parts = zip(self.segments, lengths, strict=True)
        return sum(segment.confidence * length for segment, length in parts) / sum(lengths)


def to_srt(segments: Iterable[Segment]) -> str:
    """Subtitles in SubRip's format."""
    return "\n".join(
        f"{number}\n{_clock(segment.start_seconds, ',')} --> {_clock(segment.end_seconds, ',')}\n{segment.text}\n"
        for number, segment in enumerate(segments, start=1)
    )


def to_vtt(segments: Iterable[Segment]) -> str:
    """Subtitles in WebVTT's format (W3C, 2019); what would be markup in them is escaped."""
    cues = (
        f"\n{_clock(segment.start_seconds, '.')} --> {_clock(segment.end_seconds, '.')}\n{_escaped(segment.text)}\n"
        for segment in segments
    )
    return "WEBVTT\n" + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
