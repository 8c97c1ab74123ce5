"""Where somebody speaks in a stream, while it is heard; the rules are those of `speech_stretches`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.inference.stream_audio import RunningLevel
from pixel_mm.inference.voice_activity import (
    FRAME_SAMPLES,
    SHORTEST_PAUSE_SECONDS,
    SHORTEST_SPEECH_SECONDS,
    SPEECH_BEGINS,
    SPEECH_ENDS,
)

_SHORTEST_PAUSE = SHORTEST_PAUSE_SECONDS * SAMPLE_RATE_HZ
_SHORTEST_SPEECH = SHORTEST_SPEECH_SECONDS * SAMPLE_RATE_HZ


class LiveSpeech:
    """Follows speech, 32 ms by 32 ms.

    Args:
        hear: of `VoiceActivity.listen`.

    Attributes:
        heard: samples so far.
        start: first sample of the speech that was heard since `forget`; None before there is any.
        end: sample after the last of it.
    """

    def __init__(self, hear: Callable[[Waveform], NDArray[np.float32]]) -> None:
        """Begin with a stream."""
        self._hear, self._level = hear, RunningLevel()
        self._first: int | None = None  # of the stretch that goes on, which may turn out to be a click
        self._last = 0
        self.heard = self.end = 0
        self.start: int | None = None

    def __call__(self, frame: Waveform) -> None:
        """Take the next 512 samples, float32 at 16 kHz."""
        probability = float(self._hear(self._level(frame)[None])[0])
        self.heard += FRAME_SAMPLES
        if probability >= (SPEECH_BEGINS if self._first is None else SPEECH_ENDS):
            self._first = self.heard - FRAME_SAMPLES if self._first is None else self._first
            self._last = self.heard
        elif self.heard - self._last > _SHORTEST_PAUSE:
            self._first = None
        if self._first is not None and self._last - self._first >= _SHORTEST_SPEECH:
            self.start = self._first if self.start is None else self.start
            self.end = self._last

    @property
    def pause(self) -> int:
        """Samples since somebody spoke."""
        return self.heard - self.end

    def forget(self) -> None:
        """Wait for other speech: what was heard is dealt with."""
        self.start = None
