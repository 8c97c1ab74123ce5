"""Transcripts of audio that is still coming, in memory that does not grow with it (but for the transcript).

`SpeechRecognizer.stream` is how it is used. While somebody speaks, the window since they began is transcribed again
after every step; words that two transcripts in a row agree on are final (`agreement`), and at a pause all are. When it
hears, decodes and decides depends on the samples alone, not on how they are cut into chunks.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.inference.live_speech import LiveSpeech
from pixel_mm.inference.live_window import LiveWindow
from pixel_mm.inference.recognition_engines import RecognitionEngine
from pixel_mm.inference.stream_audio import StreamAudio
from pixel_mm.inference.transcript import Segment, Transcript
from pixel_mm.inference.voice_activity import FRAME_SAMPLES, MARGIN_SECONDS, SHORTEST_PAUSE_SECONDS, VoiceActivity
from pixel_mm.models.speech_recognition.decoding import DecodingOptions

_MARGIN = round(MARGIN_SECONDS * SAMPLE_RATE_HZ)
# Speech is found up to 0.4 s after it has begun, and its margin lies before that.
_REMEMBERED = SAMPLE_RATE_HZ
# A long window costs more each time, and is heard less often: then the work for a second of speech stays the same.
_STEP_SHARE = 1 / 16
_LONGEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """What is known while a stream goes on.

    Attributes:
        text: what is final. Each begins with the one before it, also word by word.
        tentative: what follows it as far as was understood by now; may change, and vanish.
        heard_seconds: of the stream, until it was known.
        segments: stretches of speech that are over, with their times; their texts begin `text`.
        transcript: of the whole stream, in the last of its partial transcripts; None in all others.
    """

    text: str
    tentative: str
    heard_seconds: float
    segments: tuple[Segment, ...] = ()
    transcript: Transcript | None = None


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is heard.

    Attributes:
        step_seconds: how often speech that goes on is transcribed, 0.1 to 10; longer windows less often.
        pause_seconds: of silence, after which all that was said is final, 0.3 to 10.
        window_seconds: what the model gets at once, at most.
        overlap_seconds: what windows share where nobody pauses.
        words: whether segments have their words with times.

    Raises:
        ValueError: a step or pause that is too short or too long.
    """

    step_seconds: float
    pause_seconds: float
    window_seconds: float
    overlap_seconds: float
    words: bool

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, least in (("step_seconds", 0.1), ("pause_seconds", SHORTEST_PAUSE_SECONDS)):
            if not least <= getattr(self, name) <= _LONGEST_SECONDS:
                raise ValueError(f"{name}={getattr(self, name):g}; it must be {least:g} to {_LONGEST_SECONDS:g}")


def open_stream(
    chunks: Iterable[NDArray[Any]],
    sample_rate_hz: float,
    engine: RecognitionEngine,
    voice_activity: VoiceActivity,
    options: DecodingOptions,
    settings: StreamSettings,
) -> Iterator[PartialTranscript]:
    """See `SpeechRecognizer.stream`; what cannot be used is refused before the first chunk is taken."""
    if isinstance(chunks, np.ndarray) or not isinstance(chunks, Iterable):
        raise ValueError(f"chunks is of type {type(chunks).__name__}; give an iterable of arrays, e.g. [waveform]")
    audio = StreamAudio(sample_rate_hz)
    stream = _Stream(engine, LiveSpeech(voice_activity.listen()), options, settings)

    def partials() -> Iterator[PartialTranscript]:
        for chunk in chunks:
            for samples in audio.hear(chunk):
                yield from stream.hear(samples)
        yield from stream.hear(audio.finish())
        yield stream.finish()

    return partials()


class _Stream:
    """One stream.

    Args:
        engine: runs the model.
        speech: follows who speaks when.
        options: how to search.
        settings: how it is heard.
    """

    def __init__(
        self, engine: RecognitionEngine, speech: LiveSpeech, options: DecodingOptions, settings: StreamSettings
    ) -> None:
        self._engine, self._speech, self._options, self._settings = engine, speech, options, settings
        self._rest = np.zeros(0, dtype=np.float32)
        self._frames: deque[Waveform] = deque()  # the latest ones
        self._window: LiveWindow | None = None
        self._over = 0  # up to here what was said is dealt with
        self._segments: tuple[Segment, ...] = ()
        self._text = ""
        self._calibrated: list[bool] = []
        self._last = PartialTranscript("", "", 0.0)

    def hear(self, samples: Waveform) -> Iterator[PartialTranscript]:
        """Take what comes next, float32 [T] at 16 kHz, and tell what else is known."""
        self._rest = np.concatenate([self._rest, samples])
        whole = self._rest.size // FRAME_SAMPLES * FRAME_SAMPLES
        for start in range(0, whole, FRAME_SAMPLES):
            self._hear_frame(self._rest[start : start + FRAME_SAMPLES].copy())
            known = self._known(self._speech.heard)
            if (known.text, known.tentative) != (self._last.text, self._last.tentative):
                self._last = known
                yield known
        self._rest = self._rest[whole:]

    def finish(self) -> PartialTranscript:
        """What was said, now that the stream has ended, in mid-word perhaps."""
        num_samples = self._speech.heard + self._rest.size
        if self._rest.size:
            self._hear_frame(np.pad(self._rest, (0, FRAME_SAMPLES - self._rest.size)))
        if self._window is not None:
            self._close(self._window, min(num_samples, self._speech.end + _MARGIN))
        calibrated = bool(self._calibrated) and all(self._calibrated)
        found = Transcript(self._segments, self._options.language, num_samples / SAMPLE_RATE_HZ, calibrated)
        return replace(self._known(num_samples), transcript=found)

    def _known(self, num_samples: int) -> PartialTranscript:
        text, tentative = self._text, ""
        if self._window is not None:
            text = _joined(text, self._window.text)
            tentative = "".join(self._window.tentative).strip()
        return PartialTranscript(text, tentative, num_samples / SAMPLE_RATE_HZ, self._segments)

    def _hear_frame(self, frame: Waveform) -> None:
        self._frames.append(frame)
        self._speech(frame)
        speech, settings = self._speech, self._settings
        if self._window is None and speech.start is not None:
            self._window = self._begin(max(self._over, speech.start - _MARGIN))
        if self._window is None:
            self._forget(speech.heard - _REMEMBERED)
            return
        window, end = self._window, min(speech.heard, speech.end + _MARGIN)
        seconds = (end - window.start) / SAMPLE_RATE_HZ
        # The longer somebody speaks, the more a breath is worth to whoever waits for the words.
        long = seconds > settings.window_seconds / 2
        pause = SHORTEST_PAUSE_SECONDS if long else settings.pause_seconds
        step = max(settings.step_seconds, seconds * _STEP_SHARE) + (MARGIN_SECONDS if window.end == window.start else 0)
        if speech.pause >= pause * SAMPLE_RATE_HZ:
            self._close(window, end)
        elif seconds > settings.window_seconds - FRAME_SAMPLES / SAMPLE_RATE_HZ:
            self._cut(window, end)
        elif end - window.end >= step * SAMPLE_RATE_HZ:
            window.hear(self._samples(window.start, end))

    def _begin(self, start: int, before: LiveWindow | None = None) -> LiveWindow:
        repeated = (before.final, before.end - start) if before else ((), 0)
        return LiveWindow(self._engine, self._options, self._settings.words, start, *repeated)

    def _close(self, window: LiveWindow, end: int) -> None:
        """Somebody has stopped speaking."""
        window.close(self._samples(window.start, end))
        self._put_down(window, end)
        self._window, self._over = None, end
        self._speech.forget()

    def _cut(self, window: LiveWindow, end: int) -> None:
        """Somebody speaks for longer than the model can hear: go on with a window that has the end of this one, too."""
        shared = math.ceil(self._settings.overlap_seconds * SAMPLE_RATE_HZ)
        window.close(self._samples(window.start, end), shared)
        self._put_down(window, end - shared // 2)
        self._window = self._begin(end - shared, window)
        self._forget(end - shared)

    def _put_down(self, window: LiveWindow, end: int) -> None:
        segment = window.segment(end)
        if segment is None:
            return
        if self._options.language is None:  # the first speech decides
            self._options = replace(self._options, language=window.language)
        self._segments += (segment,)
        self._text = _joined(self._text, segment.text)
        self._calibrated.append(bool(window.calibrated))

    def _samples(self, start: int, end: int) -> Waveform:
        first = self._speech.heard - len(self._frames) * FRAME_SAMPLES
        return np.concatenate(self._frames)[start - first : end - first]

    def _forget(self, before: int) -> None:
        while self._speech.heard - len(self._frames) * FRAME_SAMPLES + FRAME_SAMPLES <= before:
            self._frames.popleft()


def _joined(text: str, more: str) -> str:
    return f"{text} {more}" if text and more else text or more
