"""What `SpeechRecognizer` runs: a Whisper or a CTC recogniser, and by what.

Each takes clips of 25 ms to 30 s and gives their transcripts; what is around them (where somebody speaks, long audio,
seams) is the same for all.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import Waveform
from pixel_mm.inference import ctc_engine, whisper_engine, whisper_onnx
from pixel_mm.inference.confidence import ConfidenceMap
from pixel_mm.inference.faster_whisper_engine import load_converted
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.whisper_onnx import Precision
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis

Backend = Literal["onnx", "torch", "faster-whisper"]
# The file that a folder of each kind has.
_MARKS: dict[Backend, str] = {"onnx": "model.yaml", "torch": "model.safetensors", "faster-whisper": "model.bin"}


class RecognitionEngine(Protocol):
    """Runs a model."""

    def check(self, options: DecodingOptions) -> None:
        """Refuse what the model cannot do, before anything is run.

        Raises:
            ValueError: it does not know the language or the task, or cannot search like this; names the option.
        """

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of a batch of clips, float32 [samples] each, in order; each is the one that its clip gets alone.

        Raises:
            ValueError: see `check`, or a clip that is too short or too long.
        """

    def text(self, hypothesis: Hypothesis) -> str:
        """What a transcript says, without spaces around it."""

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        """Whether the model itself doubts that somebody said this, so that it may be invented."""

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word of a clip's transcript was said.

        Args:
            waveform: float32 [samples], the clip.
            hypothesis: what `transcribe` found in it.
            options: that it was found with.

        Returns:
            The words of `split_words`, times in seconds from the clip's first sample.
        """

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """Calibrated confidence of the same words, 0 to 1; None where nobody has calibrated the model."""


class ExportedEngine(RecognitionEngine, Protocol):
    """Runs a model folder, whose confidence can be calibrated."""

    @property
    def confidence(self) -> ConfidenceMap | None:
        """From features to how often words are right, if somebody fitted it."""

    def features(self, hypothesis: Hypothesis) -> tuple[list[str], NDArray[np.float64]]:
        """Words of a transcript, and what their confidence is made of: float64 [W, 4]; see `word_features`."""


Load = Callable[[Path, Precision, int], RecognitionEngine]
_EXPORTED: Mapping[str, Callable[[Path, Precision, int], ExportedEngine]] = {
    whisper_onnx.TASK: whisper_engine.load_exported,
    ctc_engine.TASK: ctc_engine.load_exported,
}


def load_exported(folder: Path, precision: Precision, num_threads: int) -> ExportedEngine:
    """Load a model folder, of whichever recogniser it is; see `load_engine`."""
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is no folder; give what python -m pixel_mm.export wrote")
    spec = ModelSpec.read(ModelFolder(folder).spec)
    if spec.task not in _EXPORTED:
        raise ModelFolderError(
            f"model '{spec.name}' does {spec.task}, not {' or '.join(_EXPORTED)}; give another model folder"
        )
    return _EXPORTED[spec.task](folder, precision, num_threads)


_LOADED_BY: Mapping[Backend, Load] = {
    "onnx": load_exported,
    "torch": whisper_engine.load_checkpoint,
    "faster-whisper": load_converted,
}


def load_engine(folder: Path, backend: Backend | None, precision: Precision, num_threads: int) -> RecognitionEngine:
    """Load a model.

    Args:
        folder: what `python -m pixel_mm.export` wrote with target=recognizer or target=ctc ("onnx") or with
            target=whisper_checkpoint ("torch"), or CTranslate2's converter ("faster-whisper").
        backend: which of them; None sees what is in the folder.
        precision: "float32", "float16" or "int8"; PyTorch and CTC run float32 alone.
        num_threads: that run it; 0 takes all cores.

    Raises:
        ModelFolderError: the folder is not of the kind, incomplete or damaged, or its package is not installed.
        TokenizerError: its tokenizer is none of Whisper's, or not of its weights.
        VocabularyError: its vocabulary is none, or not of its graph.
        PretrainedError: its weights don't fit its description.
    """
    chosen = backend or _found(folder)
    if chosen not in _LOADED_BY:
        raise ModelFolderError(f"backend is '{chosen}'; it is one of {', '.join(_LOADED_BY)}")
    if chosen != "onnx" and not (folder / _MARKS[chosen]).is_file():
        raise ModelFolderError(f"{folder} has no {_MARKS[chosen]}, which backend '{chosen}' needs")
    return _LOADED_BY[chosen](folder, precision, num_threads)


def _found(folder: Path) -> Backend:
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is no folder; give what python -m pixel_mm.export target=recognizer wrote")
    for backend, mark in _MARKS.items():
        if (folder / mark).is_file():
            return backend
    raise ModelFolderError(f"{folder} holds no recogniser: none of {', '.join(_MARKS.values())}")
