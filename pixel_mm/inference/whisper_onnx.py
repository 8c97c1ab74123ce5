"""Whisper over onnxruntime, for `pixel_mm.models.speech_recognition.decoding`: what a model folder holds, run here.

Needs numpy and onnxruntime, no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES, Waveform
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from pixel_mm.whisper_tokens import WhisperTokenizer

TASK = "speech_recognition"
TOKENIZER = "tokenizer.json"
Precision = Literal["float32", "float16", "int8"]
FILES: Mapping[Precision, tuple[str, str]] = {
    "float32": ("encoder.onnx", "decoder.onnx"),
    "float16": ("encoder.fp16.onnx", "decoder.fp16.onnx"),
    "int8": ("encoder.int8.onnx", "decoder.int8.onnx"),
}
"""Encoder and decoder of each precision, by their names in a model folder."""


@dataclass(frozen=True, slots=True)
class HeardByOnnx:
    """A batch of encoded clips.

    Attributes:
        inputs: of the decoder by name: `num_frames` int64 [B], keys and values float32 [B, H, F, 64], zero beyond a
            clip's frames.
    """

    inputs: dict[str, NDArray[Any]]


class OnnxDecoder:
    """Runs a pair of graphs; see `SpeechDecoder` for the methods.

    Args:
        encoder: session of the encoder's graph.
        decoder: session of the decoder's graph.
    """

    def __init__(self, encoder: Any, decoder: Any) -> None:
        """Take sessions; most callers want `load`."""
        self._encoder, self._decoder = encoder, decoder
        self._heard = [tensor.name for tensor in encoder.get_outputs()]
        past = [tensor for tensor in decoder.get_inputs() if tensor.name.startswith("past_")]
        self._past = [tensor.name for tensor in past]
        self._heads, self._width = past[0].shape[1], past[0].shape[3]
        self._steps = [tensor.name for tensor in decoder.get_outputs() if tensor.name != "attention"]

    @classmethod
    def load(cls, folder: str | Path, precision: Precision = "float32", num_threads: int = 0) -> "OnnxDecoder":
        """Load what `python -m pixel_mm.export target=recognizer` wrote.

        Args:
            folder: the model folder.
            precision: which of its pairs of graphs.
            num_threads: that run them; 0 takes all cores.

        Raises:
            ModelFolderError: a file is missing, is not the one that was exported, or is for another task.
        """
        if precision not in FILES:
            raise ModelFolderError(f"precision is '{precision}'; it is one of {', '.join(FILES)}")
        place = ModelFolder(Path(folder))
        spec = place.open(*FILES[precision])
        if spec.task != TASK:
            raise ModelFolderError(f"model '{spec.name}' does {spec.task}, not {TASK}; give another model folder")
        encoder, decoder = (open_session(place.path / name, num_threads) for name in FILES[precision])
        return cls(encoder, decoder)

    def hear(self, waveforms: Sequence[Waveform]) -> HeardByOnnx:
        """Encode, one clip after the other: on a processor a batch would be no faster, and padding is work.

        Raises:
            ValueError: a clip is shorter than 25 ms or longer than 30 s.
        """
        for row, waveform in enumerate(waveforms):
            if not MIN_SAMPLES <= waveform.size <= MAX_SAMPLES:
                raise ValueError(f"clip {row} has {waveform.size} samples; need {MIN_SAMPLES} to {MAX_SAMPLES}")
        found = [self._hear_one(waveform) for waveform in waveforms]
        if len(found) == 1:
            return HeardByOnnx(found[0])
        longest = max(int(one["num_frames"][0]) for one in found)
        joined: dict[str, NDArray[Any]] = {"num_frames": np.concatenate([one["num_frames"] for one in found])}
        for name in self._heard[1:]:
            joined[name] = np.zeros((len(found), self._heads, longest, self._width), dtype=np.float32)
            for row, one in zip(joined[name], found, strict=True):
                row[:, : one[name].shape[2]] = one[name][0]
        return HeardByOnnx(joined)

    def step(
        self, heard: HeardByOnnx, tokens: NDArray[np.int64], past: Sequence[NDArray[np.float32]] | None
    ) -> tuple[NDArray[np.float32], Sequence[NDArray[np.float32]]]:
        """Score what comes next."""
        logits, *present = self._decoder.run(self._steps, self._inputs(heard, tokens, past))
        return logits, present

    def choose_heard(self, heard: HeardByOnnx, rows: NDArray[np.int64]) -> HeardByOnnx:
        """Some rows, without frames that none of them has."""
        longest = int(heard.inputs["num_frames"][rows].max())
        chosen = {name: array[rows] for name, array in heard.inputs.items() if name == "num_frames"}
        chosen |= {name: heard.inputs[name][rows, :, :longest] for name in self._heard[1:]}
        return HeardByOnnx(chosen)

    def choose_past(
        self, past: Sequence[NDArray[np.float32]], rows: NDArray[np.int64]
    ) -> Sequence[NDArray[np.float32]]:
        """The same rows of the past."""
        return [array[rows] for array in past]

    def attention(self, heard: HeardByOnnx, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Where every head looks while it predicts what comes after each token.

        Args:
            heard: of `hear`.
            tokens: int64 [B, N], prompt and transcript, then anything.

        Returns:
            float32 [B, L, H, N, F].
        """
        found: NDArray[np.float32] = self._decoder.run(["attention"], self._inputs(heard, tokens, None))[0]
        return found

    def _hear_one(self, waveform: Waveform) -> dict[str, NDArray[Any]]:
        inputs = {"waveform": waveform[None].astype(np.float32), "num_samples": np.array([waveform.size])}
        return dict(zip(self._heard, self._encoder.run(self._heard, inputs), strict=True))

    def _inputs(
        self, heard: HeardByOnnx, tokens: NDArray[np.int64], past: Sequence[NDArray[np.float32]] | None
    ) -> dict[str, NDArray[Any]]:
        if past is None:
            past = [np.zeros((len(tokens), self._heads, 0, self._width), dtype=np.float32)] * len(self._past)
        return {"tokens": tokens.astype(np.int64), **heard.inputs, **dict(zip(self._past, past, strict=True))}


def open_session(path: Path, num_threads: int = 0) -> Any:
    """An onnxruntime session on the processor.

    Args:
        path: of the graph.
        num_threads: that run it; 0 takes all cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load_tokenizer(folder: str | Path) -> WhisperTokenizer:
    """The tokenizer of a model folder, verified.

    Raises:
        ModelFolderError: it is missing or not the one that was exported.
        TokenizerError: it is none of Whisper's.
    """
    place = ModelFolder(Path(folder))
    place.open(TOKENIZER)
    return WhisperTokenizer.load(place.path / TOKENIZER)
