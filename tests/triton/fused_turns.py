"""Asks a served fused model, as a client over gRPC does: a turn in, a stream of answers back."""

import json
import queue
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as grpc

_TYPES = {
    "text": "BYTES", "waveform": "FP32", "sample_rate_hz": "INT32", "max_tokens": "INT32", "temperature": "FP32",
    "top_p": "FP32", "seed": "INT64",
}  # fmt: skip
_DTYPES = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}


@dataclass(frozen=True)
class Streamed:
    pieces: list[str]
    first_scores: dict[str, Any]
    reply: dict[str, Any]


def inputs(turn: dict[str, Any]) -> list[grpc.InferInput]:
    tensors = []
    for name, value in turn.items():
        kind = _TYPES[name]
        array = (
            np.array([value.encode()], dtype=object) if kind == "BYTES" else np.atleast_1d(value).astype(_DTYPES[kind])
        )
        tensors.append(grpc.InferInput(name, list(array.shape), kind).set_data_from_numpy(array))
    return tensors


def ask(url: str, model: str, seconds: float = 60.0, **turn: Any) -> Streamed:
    """One turn; raises what the server answers with if that is an error."""
    answers: queue.Queue = queue.Queue()
    pieces, scores = [], []
    with grpc.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(model, inputs(turn))
        while True:
            result, error = answers.get(timeout=seconds)
            if error is not None:
                raise error
            pieces.append(result.as_numpy("text")[0].decode())
            if told := result.as_numpy("scores")[0]:
                scores.append(json.loads(told))
            if result.as_numpy("final")[0]:
                return Streamed([piece for piece in pieces if piece], scores[0], scores[-1])
