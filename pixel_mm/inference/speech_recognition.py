"""Writes down what is said, with a model folder, over onnxruntime (or PyTorch, or faster-whisper).

    python -m pixel_mm.inference.speech_recognition MODEL_DIR FILES           # text
    python -m pixel_mm.inference.speech_recognition MODEL_DIR FILES --json    # or --srt, --vtt
    arecord -t raw -f S16_LE -r 16000 | python -m pixel_mm.inference.speech_recognition MODEL_DIR --stream

    recognizer = SpeechRecognizer.load("MODEL_DIR")
    recognizer(waveform, sample_rate_hz=48_000).text
    recognizer.file("three_hours.flac").segments
    for partial in recognizer.stream(chunks, sample_rate_hz=48_000): print(partial.text, partial.tentative)

Needs numpy, onnxruntime, soundfile, soxr, tokenizers, PyYAML and the network in silero-vad's wheel; neither torch,
Lightning nor Hydra. Exit codes of the command: 0 all files transcribed, 1 some could not be (named on stderr), 2 no
usable model or arguments.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_SAMPLES,
    MIN_SECONDS,
    SAMPLE_RATE_HZ,
    AudioError,
    SilentAudioError,
    Waveform,
    normalise_level,
    prepare,
    read_audio,
    read_blocks,
)
from pixel_mm.inference.recognition_engines import Backend, RecognitionEngine, load_engine
from pixel_mm.inference.streaming import PartialTranscript, StreamSettings, open_stream
from pixel_mm.inference.transcript import Transcript
from pixel_mm.inference.voice_activity import VoiceActivity, pack, speech_stretches
from pixel_mm.inference.whisper_onnx import Precision
from pixel_mm.inference.windows import Listener, Place, make_segment
from pixel_mm.models.speech_recognition.decoding import DecodingOptions

OVERLAP_SECONDS = 4.0
MIN_WINDOW_SECONDS = 8.0
# Between the margins of 0.4 s of what is heard together.
_MAX_PAUSE_SECONDS = 0.4
_DEFAULTS = DecodingOptions()


class SpeechRecognizer:
    """Transcribes speech of any length, sample rate and level, and writes nothing where nobody speaks.

    Args:
        engine: runs the model.
        voice_activity: finds who speaks when.
        options: how to search; see `DecodingOptions`.
        window_seconds: what the model gets at once, at most; shorter windows make shorter segments.
        words: whether segments have their words with times, for which each window is heard twice.

    Raises:
        ValueError: impossible windows, timestamps, which this class has of its own, or options that the model cannot
            do: a language that it does not know, hot words or beams for a CTC recogniser.
    """

    def __init__(
        self,
        engine: RecognitionEngine,
        voice_activity: VoiceActivity,
        options: DecodingOptions = _DEFAULTS,
        window_seconds: float = 28.0,
        words: bool = False,
    ) -> None:
        """Recognise with any engine; most callers want `load`."""
        if not MIN_WINDOW_SECONDS <= window_seconds <= MAX_SECONDS:
            raise ValueError(
                f"window_seconds={window_seconds:g}; it must be {MIN_WINDOW_SECONDS:g} to {MAX_SECONDS:g}, since "
                f"windows share up to {OVERLAP_SECONDS:g}"
            )
        if options.timestamps:
            raise ValueError("options.timestamps is for decode() alone; segments have their times without it")
        engine.check(options)
        self.engine, self.voice_activity = engine, voice_activity
        self.options, self.window_seconds, self.words = options, window_seconds, words

    @classmethod
    def load(
        cls,
        folder: str | Path,
        backend: Backend | None = None,
        precision: Precision = "float32",
        num_threads: int = 0,
        options: DecodingOptions = _DEFAULTS,
        window_seconds: float = 28.0,
        words: bool = False,
    ) -> "SpeechRecognizer":
        """Load a model.

        Args:
            folder: see `load_engine`; mostly what `python -m pixel_mm.export target=recognizer` or target=ctc wrote.
            backend: "onnx", "torch" or "faster-whisper"; None sees what is in the folder.
            precision: "float32", "float16" or "int8".
            num_threads: that run the model; 0 takes all cores.
            options: how to search: language (None finds it), task, beam size, hot words.
            window_seconds: what the model gets at once, at most, 8 to 30.
            words: whether segments have their words with times.

        Raises:
            ModelFolderError: a file is missing or damaged, or is of another task or kind.
            PretrainedError: the voice activity detector is not installed.
            ValueError: the model does not know the language or the task, or cannot search like this.
        """
        engine = load_engine(Path(folder), backend, precision, num_threads)
        return cls(engine, VoiceActivity.load(), options, window_seconds, words)

    def __call__(self, waveform: NDArray[Any], sample_rate_hz: float) -> Transcript:
        """Transcribe a recording in memory.

        Args:
            waveform: [samples] or [channels, samples], floating point or full-scale integers; 25 ms or longer.
            sample_rate_hz: 8 000 to 192 000.

        Raises:
            AudioError: empty, NaN, too short, or of another rank or type; the message says which.
        """
        try:
            samples = prepare(waveform, sample_rate_hz).waveform
        except SilentAudioError:
            return self._nothing(np.asarray(waveform).shape[-1] / sample_rate_hz)
        probabilities = self.voice_activity.probabilities([samples])
        return self._transcribe(probabilities, samples.size, lambda start, end: normalise_level(samples[start:end]))

    def file(self, path: str | PathLike[str]) -> Transcript:
        """Transcribe a file; one of any length takes no more memory than a minute of it and its transcript.

        Args:
            path: audio file, in any format that libsndfile reads.

        Raises:
            AudioError: missing, unreadable, truncated, not finite or shorter than 25 ms. The message begins with the
                path.
        """
        num_samples = 0

        def blocks() -> Iterator[Waveform]:
            nonlocal num_samples
            for block in read_blocks(path):
                num_samples += block.size
                yield block

        probabilities = self.voice_activity.probabilities(blocks())
        if num_samples < MIN_SAMPLES:
            seconds = num_samples / SAMPLE_RATE_HZ
            raise AudioError(f"{path}: {seconds:.4f} s long; the shortest usable clip is {MIN_SECONDS} s")

        def read(start: int, end: int) -> Waveform:
            last = None if end == num_samples else end / SAMPLE_RATE_HZ
            return read_audio(path, start / SAMPLE_RATE_HZ, last).waveform[:MAX_SAMPLES]

        return self._transcribe(probabilities, num_samples, read)

    def files(self, paths: Sequence[Path]) -> Iterator[tuple[Path, Transcript | AudioError]]:
        """Transcribe files; one that cannot be gives its error, and the others are transcribed all the same."""
        for path in paths:
            try:
                yield path, self.file(path)
            except AudioError as error:
                yield path, error

    def stream(
        self,
        chunks: Iterable[NDArray[Any]],
        sample_rate_hz: float,
        step_seconds: float = 0.5,
        pause_seconds: float = 1.2,
    ) -> Iterator[PartialTranscript]:
        """Transcribe audio while it comes, for as long as it comes.

        Args:
            chunks: [samples] or [channels, samples] each, all with as many channels, of any length; floating point or
                full-scale integers. The stream ends where they end, in mid-word perhaps.
            sample_rate_hz: 8 000 to 192 000.
            step_seconds: how often what is being said is transcribed again, 0.1 to 10.
            pause_seconds: of silence, after which all that was said is final, 0.3 to 10.

        Yields:
            Whenever something else is known: what is final, which only ever grows, and what is not. The last one has
            the stream's `transcript`, which is empty where nobody spoke, or nothing came.

        Raises:
            ValueError: impossible options, or chunks that are one array; at once.
            AudioError: an unsupported rate, at once; and when a chunk cannot be used, with its number.
        """
        settings = StreamSettings(step_seconds, pause_seconds, self.window_seconds, OVERLAP_SECONDS, self.words)
        return open_stream(chunks, sample_rate_hz, self.engine, self.voice_activity, self.options, settings)

    def _transcribe(
        self, probabilities: NDArray[np.float32], num_samples: int, read: Callable[[int, int], Waveform]
    ) -> Transcript:
        stretches = speech_stretches(probabilities, num_samples)
        seconds = num_samples / SAMPLE_RATE_HZ
        if not stretches:
            return self._nothing(seconds)
        # What the model takes at once it gets whole: its context is worth more than the work that is saved.
        places = [(0, num_samples)] if num_samples <= MAX_SAMPLES else self._windows(stretches, _MAX_PAUSE_SECONDS)
        listener = Listener(self.engine, self.options, self._windows(stretches, 0.0), self.words)
        pieces = listener.understand(places, read)
        segments = tuple(make_segment(piece, stretches) for piece in pieces if piece.words)
        language = pieces[0].hypothesis.language if pieces else self.options.language
        calibrated = bool(pieces) and all(piece.confidences is not None for piece in pieces)
        return Transcript(segments, language, seconds, calibrated)

    def _windows(self, stretches: Sequence[Place], max_pause_seconds: float) -> list[Place]:
        return pack(stretches, self.window_seconds, OVERLAP_SECONDS, max_pause_seconds)

    def _nothing(self, seconds: float) -> Transcript:
        return Transcript((), self.options.language, seconds)


if __name__ == "__main__":
    from pixel_mm.inference.recognition_cli import main

    sys.exit(main())
