"""Scores how speech sounds - valence, arousal, dominance and emotion - with a model folder, over onnxruntime.

    python -m pixel_mm.inference.audio_emotion_recognition MODEL_DIR FILES          # table
    python -m pixel_mm.inference.audio_emotion_recognition MODEL_DIR FILES --json

    recognizer = AudioEmotionRecognizer.load("MODEL_DIR")
    recognizer(waveform, sample_rate_hz=48_000).scores["arousal"]
    recognizer.timeline(long_waveform, sample_rate_hz=48_000)

Needs numpy, onnxruntime, soundfile, soxr and PyYAML (and rich for the table), neither torch, Lightning nor Hydra.
Exit codes of the command: 0 all files scored, 1 some could not be (named on stderr), 2 no usable model or arguments.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import AudioError, Waveform, prepare, read_audio
from pixel_mm.inference.emotion_estimate import Arrays, EmotionEstimate, estimate_of, prepared_clip, speech_windows
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec

TASK = "audio_emotion_recognition"

# Padded samples of one batch: one minute, so that memory does not grow with the number of clips.
_MAX_BATCH_SAMPLES = 60 * 16_000
_FILES_AT_ONCE = 32


class AudioEmotionRecognizer:
    """Scores speech of any sample rate and level.

    Args:
        spec: of the model.
        run: the model, arrays by name in and out as the spec says; `load` gives one that runs here.
    """

    def __init__(self, spec: ModelSpec, run: Callable[[Arrays], Arrays]) -> None:
        """Score with any runner; most callers want `load`."""
        if spec.task != TASK:
            raise ModelFolderError(f"model '{spec.name}' does {spec.task}, not {TASK}; give another model folder")
        self.spec = spec
        self._run = run

    @classmethod
    def load(cls, folder: str | Path, num_threads: int = 0) -> "AudioEmotionRecognizer":
        """Load what `python -m pixel_mm.export` wrote.

        Args:
            folder: the model folder.
            num_threads: that score; 0 takes all cores.

        Raises:
            ModelFolderError: a file is missing, is not the one that was exported, or is for another task.
        """
        import onnxruntime  # here, so that scoring by a server does not need it

        place = ModelFolder(Path(folder))
        spec = place.open(place.onnx.name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(place.onnx), options, providers=["CPUExecutionProvider"])
        found = [tensor.name for tensor in (*session.get_inputs(), *session.get_outputs())]
        described = [tensor.name for tensor in (*spec.inputs, *spec.outputs)]
        if found != described:
            raise ModelFolderError(f"{place.onnx} has {', '.join(found)}; model.yaml says {', '.join(described)}")
        names = [tensor.name for tensor in spec.outputs]
        return cls(spec, lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)))

    def __call__(self, waveform: NDArray[Any], sample_rate_hz: float) -> EmotionEstimate:
        """Score one clip.

        Args:
            waveform: [samples] or [channels, samples], floating point or full-scale integers; 25 ms to 30 s.
            sample_rate_hz: 8 000 to 192 000.

        Raises:
            AudioError: empty, silent, NaN, too short or long, or of another rank or type; the message says which.
        """
        return self.batch([waveform], sample_rate_hz)[0]

    def batch(self, waveforms: Sequence[NDArray[Any]], sample_rate_hz: float) -> list[EmotionEstimate]:
        """Score clips of any lengths together; each gets the score that it has alone (to 1e-4).

        Args:
            waveforms: as for a single clip; their order is kept.
            sample_rate_hz: of all of them.

        Raises:
            AudioError: a clip that cannot be scored; the message gives its index.
        """
        prepared = []
        for index, waveform in enumerate(waveforms):
            try:
                prepared.append(prepared_clip(waveform, sample_rate_hz, self.spec))
            except AudioError as error:
                raise AudioError(f"clip {index}: {error}" if len(waveforms) > 1 else str(error)) from None
        return self._score(prepared)

    def timeline(
        self, waveform: NDArray[Any], sample_rate_hz: float, window_seconds: float = 5.0, overlap_seconds: float = 2.5
    ) -> list[EmotionEstimate]:
        """Score audio of any length window by window.

        Windows in which nothing comes within 44 dB of the recording's own level hold no speech and are left out, so
        look at each estimate's times.

        Args:
            waveform: as for a single clip, without an upper limit.
            sample_rate_hz: 8 000 to 192 000.
            window_seconds: length of a window, up to 30.
            overlap_seconds: what neighbours share; the last window shares more, so that it is full too.

        Raises:
            AudioError: see `__call__`.
            ValueError: impossible windows.
        """
        return self._timeline(prepare(waveform, sample_rate_hz).waveform, window_seconds, overlap_seconds)

    def _timeline(self, waveform: Waveform, window_seconds: float, overlap_seconds: float) -> list[EmotionEstimate]:
        places = speech_windows(waveform, self.spec, window_seconds, overlap_seconds)
        return self._score([waveform[start:end] for start, end in places], [start for start, _ in places])

    def _score(self, waveforms: Sequence[Waveform], starts: Sequence[int] | None = None) -> list[EmotionEstimate]:
        """Estimates in the order given; clips of like length share a batch."""
        estimates: dict[int, EmotionEstimate] = {}
        for rows in _batches([waveform.size for waveform in waveforms]):
            outputs = self._run(_pad([waveforms[row] for row in rows]))
            for place, row in enumerate(rows):
                start = starts[row] if starts else 0
                estimates[row] = estimate_of(self.spec, outputs, place, start, start + waveforms[row].size)
        return [estimates[row] for row in range(len(waveforms))]

    def score_files(
        self, paths: Sequence[Path], window_seconds: float = 5.0, overlap_seconds: float = 2.5
    ) -> Iterator[tuple[Path, list[EmotionEstimate] | AudioError]]:
        """Score files; one that cannot be scored gives its error, and the others are scored all the same.

        Args:
            paths: audio files, in any format that libsndfile reads.
            window_seconds: for files longer than the model takes at once, see `timeline`.
            overlap_seconds: likewise.

        Yields:
            Path, and one estimate, a timeline for a long file, or the error; in the order of `paths`.
        """
        longest = round(self.spec.max_seconds * self.spec.sample_rate_hz)
        for first in range(0, len(paths), _FILES_AT_ONCE):
            results: dict[int, list[EmotionEstimate] | AudioError] = {}
            short: dict[int, Waveform] = {}
            for index, path in enumerate(paths[first : first + _FILES_AT_ONCE]):
                try:
                    waveform = read_audio(path).waveform
                except AudioError as error:
                    results[index] = error
                    continue
                if waveform.size > longest:
                    results[index] = self._timeline(waveform, window_seconds, overlap_seconds)
                else:
                    short[index] = waveform
            scored = zip(short, self._score(list(short.values())), strict=True)
            results.update({index: [estimate] for index, estimate in scored})
            yield from ((paths[first + index], results[index]) for index in sorted(results))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of clips, shortest first, in groups whose padded size stays below `_MAX_BATCH_SAMPLES`."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if rows and (len(rows) + 1) * lengths[row] > _MAX_BATCH_SAMPLES:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _pad(waveforms: Sequence[Waveform]) -> Arrays:
    """The graph's inputs: waveform float32 [B, T], zero beyond each end, and num_samples int64 [B]."""
    num_samples = np.array([waveform.size for waveform in waveforms], dtype=np.int64)
    padded = np.zeros((len(waveforms), num_samples.max()), dtype=np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: waveform.size] = waveform
    return {"waveform": padded, "num_samples": num_samples}


if __name__ == "__main__":
    from pixel_mm.inference.emotion_cli import main

    sys.exit(main())
