"""A recogniser that writes what a test lets sound: a second of tone for each number, and a word for each second."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import Waveform
from pixel_mm.inference.doubt import is_doubtful
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.voice_activity import VoiceActivity
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis
from pixel_mm.whisper_tokens import WhisperTokenizer
from tests.tiny_recognition import tiny_tokenizer

RATE = 16_000


class Loudness(VoiceActivity):
    """Takes for speech what is not silent."""

    def __init__(self) -> None:
        super().__init__(None)

    def listen(self) -> Callable[[Waveform], NDArray[np.float32]]:
        return lambda frames: (np.abs(frames) > 1e-3).any(axis=1).astype(np.float32)


class Counting:
    """Hears the number of each second, which is how high it sounds, and writes it as a word."""

    def __init__(self, change: Callable[[Hypothesis], Hypothesis] = lambda found: found) -> None:
        self.tokenizer: WhisperTokenizer = tiny_tokenizer()
        self.lengths: list[float] = []
        self.options: list[DecodingOptions] = []
        self.change = change
        self.calibrated = False

    def check(self, options: DecodingOptions) -> None:
        self.tokenizer.prompt(options.language or "en", options.task)

    def text(self, hypothesis: Hypothesis) -> str:
        return self.tokenizer.decode(hypothesis.tokens).strip()

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        return is_doubtful(hypothesis)

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        self.lengths += [waveform.size / RATE for waveform in waveforms]
        self.options += [options] * len(waveforms)
        return [self.change(self._one(waveform)) for waveform in waveforms]

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """Each where it is heard first, a second long."""
        return [
            Word(f"w{number}", start / RATE, min(start / RATE + 1, waveform.size / RATE), 0.5)
            for start, number in self._heard(waveform)
        ]

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """A hundredth of each number, once it is calibrated."""
        if not self.calibrated:
            return None
        return [int(word[1:]) / 100 for word in self.tokenizer.decode(hypothesis.tokens).split()]

    def _one(self, waveform: Waveform) -> Hypothesis:
        tokens = self.tokenizer.encode(" " + " ".join(f"w{number}" for _, number in self._heard(waveform)))
        return Hypothesis(tuple(tokens), (-0.1,) * (len(tokens) + 1), 0.01, "en")

    @staticmethod
    def _heard(waveform: Waveform) -> list[tuple[int, int]]:
        """Where each number begins, and the number."""
        heard: list[tuple[int, int]] = []
        for start in range(0, waveform.size - 1600, 1600):
            part = waveform[start : start + 1600]
            crossings = round(np.count_nonzero(np.diff(np.signbit(part))) / 20)
            sounds = min(np.abs(part[:160]).max(), np.abs(part[-160:]).max()) > 1e-3
            if sounds and (not heard or heard[-1][1] != crossings):
                heard.append((start, crossings))
        return heard


def numbers(first: int, last: int, rate: int = RATE) -> np.ndarray:
    """A second of tone for each number."""
    time = np.arange(rate) / rate
    return np.concatenate([np.sin(2 * np.pi * 100 * number * time + 0.1) for number in range(first, last)]).astype(
        np.float32
    )


def words(first: int, last: int) -> str:
    return " ".join(f"w{number}" for number in range(first, last))


def recognizer(engine: Counting | None = None, **options: object) -> SpeechRecognizer:
    return SpeechRecognizer(engine or Counting(), Loudness(), **options)  # type: ignore[arg-type]
