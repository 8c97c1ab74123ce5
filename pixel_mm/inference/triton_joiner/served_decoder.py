"""The served encoder and decoder as a `SpeechDecoder`: business-logic scripting (BLS) of Triton's Python backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from pixel_mm.inference.triton_joiner.parts import Part, Parts, cache_names

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


class PartUnavailableError(RuntimeError):
    """The encoder or the decoder gave no answer; the message says which and why."""


@dataclass(frozen=True)
class HeardByServer:
    """An encoded clip, once for each transcript that is followed.

    Attributes:
        num_frames: int64 [B, 1].
        tensors: keys and values as the server gave them, so that no step copies them again.
    """

    num_frames: NDArray[np.int64]
    tensors: list[Any]


class ServedDecoder:
    """Calls the encoder and decoder of one export; see `SpeechDecoder` for the methods.

    Args:
        parts: which they are.
    """

    def __init__(self, parts: Parts) -> None:
        """Prepare names; nothing is called."""
        self._parts = parts
        self._speech, self._past, self._present = (
            cache_names(kind, parts.num_layers) for kind in ("speech", "past", "present")
        )

    def hear(self, waveforms: Sequence[Floats]) -> HeardByServer:
        """Encode one clip."""
        (waveform,) = waveforms
        inputs = [
            pb_utils.Tensor("waveform", waveform[None]),
            pb_utils.Tensor("num_samples", np.array([[waveform.size]], dtype=np.int64)),
        ]
        num_frames, *tensors = _call(self._parts.encoder, inputs, ["num_frames", *self._speech])
        return HeardByServer(num_frames.as_numpy(), tensors)

    def step(self, heard: HeardByServer, tokens: Numbers, past: Sequence[Floats] | None) -> tuple[Floats, list[Floats]]:
        """Score what comes next."""
        if past is None:
            shape = (len(tokens), self._parts.num_heads, 0, self._parts.head_width)
            past = [np.zeros(shape, dtype=np.float32)] * len(self._past)
        inputs = [
            pb_utils.Tensor("tokens", np.ascontiguousarray(tokens, dtype=np.int64)),
            pb_utils.Tensor("num_frames", heard.num_frames),
            *heard.tensors,
            *(pb_utils.Tensor(name, array) for name, array in zip(self._past, past, strict=True)),
        ]
        logits, *present = _call(self._parts.decoder, inputs, ["logits", *self._present])
        return logits.as_numpy().copy(), [tensor.as_numpy() for tensor in present]

    def choose_heard(self, heard: HeardByServer, rows: Numbers) -> HeardByServer:
        """Some rows."""
        if np.array_equal(rows, np.arange(len(heard.num_frames))):
            return heard
        named = zip(self._speech, heard.tensors, strict=True)
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(tensor.as_numpy()[rows])) for name, tensor in named]
        return HeardByServer(heard.num_frames[rows], tensors)

    def choose_past(self, past: Sequence[Floats], rows: Numbers) -> list[Floats]:
        """The same rows of the past."""
        return [np.ascontiguousarray(array[rows]) for array in past]


def _call(part: Part, inputs: list[Any], outputs: list[str]) -> list[Any]:
    """Tensors that a model gives, in the order of `outputs`, in the processor's memory.

    Raises:
        PartUnavailableError: it gives none.
    """
    memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)
    request = pb_utils.InferenceRequest(
        model_name=part.model,
        model_version=part.version,
        requested_output_names=outputs,
        inputs=inputs,
        preferred_memory=memory,
    )
    response = request.exec()
    if response.has_error():
        raise PartUnavailableError(
            f"version {part.version} of '{part.model}', which belongs to this model, is not available now: "
            f"{response.error().message()}"
        )
    found = {tensor.name(): tensor for tensor in response.output_tensors()}
    return [found[name] for name in outputs]
