"""A model as a Triton server describes it, what goes to it, and what may come back."""

import asyncio
import bisect
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.inference.audio_emotion_recognition import TASK
from pixel_mm.inference.emotion_estimate import Arrays
from pixel_mm.inference.triton_errors import TritonAnswerError, TritonDeadlineError, TritonRequestError
from pixel_mm.inference.triton_transport import Answer, TritonTransport
from pixel_mm.model_folder import ModelFolderError, ModelSpec

_ROUNDING = 1e-3  # half-precision models leave 0..1 and a sum of 1 by less


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a client must know of a model.

    Attributes:
        name: in the repository.
        versions: that were served when it was found.
        max_batch_size: clips that one request may have.
        length_buckets_samples: lengths to pad to, ascending, so that clips share batches; none pads to nothing.
        spec: as exported.
    """

    name: str
    versions: tuple[str, ...]
    max_batch_size: int
    length_buckets_samples: tuple[int, ...]
    spec: ModelSpec

    @classmethod
    async def find(cls, transport: TritonTransport, name: str, timeout_seconds: float) -> "ServedModel":
        """Ask a server for a model.

        Raises:
            TritonRequestError: it has no such model, or one that was not exported by pixel_mm for this task.
            TritonClientError: another of its kinds.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                config = await transport.config(name, timeout_seconds)
                versions = await transport.versions(name, timeout_seconds)
        except TritonRequestError as error:
            try:
                known = sorted({model["name"] for model in await transport.index(timeout_seconds)})
            except Exception:
                raise error from None
            raise TritonRequestError(f"{error}; its repository has {', '.join(known) or 'no models'}") from None
        except TimeoutError as error:
            raise TritonDeadlineError(str(error) or f"{transport.url} gave no answer in the time allowed") from None
        try:
            return cls.parse(name, versions, config)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise TritonRequestError(
                f"{transport.url}: model '{name}' cannot be used here: {reason}; "
                "put it there with python -m pixel_mm.export target=triton"
            ) from None

    @classmethod
    def parse(cls, name: str, versions: tuple[str, ...], config: Mapping) -> "ServedModel":
        """Read a configuration in the JSON of Triton's protocol.

        Raises:
            ValueError: what it says cannot be.
            KeyError: a parameter is missing.
        """
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        spec = ModelSpec.parse(json.loads(parameters["model_spec"]))
        if spec.task != TASK:
            raise ModelFolderError(f"it does {spec.task}, not {TASK}")
        if spec.sample_rate_hz != SAMPLE_RATE_HZ:
            raise ValueError(f"it takes {spec.sample_rate_hz} Hz, this client gives {SAMPLE_RATE_HZ}")
        if (size := int(config.get("max_batch_size", 0))) < 1:
            raise ValueError(f"its max_batch_size is {size}; clips go in batches")
        buckets = json.loads(parameters.get("length_buckets_samples", "[]"))
        if not all(isinstance(bucket, int) and bucket > 0 for bucket in buckets):
            raise ValueError(f"its length_buckets_samples are {buckets}")
        return cls(name, versions, size, tuple(sorted(buckets)), spec)

    def padded_length(self, num_samples: int) -> int:
        """The smallest bucket that holds a clip; its own length above the largest."""
        place = bisect.bisect_left(self.length_buckets_samples, num_samples)
        return self.length_buckets_samples[place] if place < len(self.length_buckets_samples) else num_samples


class VersionChoice:
    """Draws the version that scores a call.

    Args:
        weights: by version, 0 or more, not all 0; None always leaves it to the server.
        model: that has them.
        seed: of the draws.

    Raises:
        ValueError: impossible weights, or a version that is not served.
    """

    def __init__(self, weights: Mapping[str, float] | None, model: ServedModel, seed: int | None = None) -> None:
        """Check the weights."""
        self._weights = {str(version): float(weight) for version, weight in (weights or {"": 1.0}).items()}
        self._random = random.Random(seed)
        if not all(0 <= weight < float("inf") for weight in self._weights.values()) or not any(self._weights.values()):
            raise ValueError(f"versions={dict(self._weights)}; weights are 0 or more, one of them above 0")
        if unknown := [version for version in self._weights if version and version not in model.versions]:
            raise ValueError(
                f"versions: '{unknown[0]}' of '{model.name}' is not served; {', '.join(model.versions)} are"
            )

    def draw(self) -> str:
        """A version; "" leaves it to the server."""
        return self._random.choices(list(self._weights), list(self._weights.values()))[0]


def join_clips(waveforms: Sequence[Waveform], length: int) -> Arrays:
    """The inputs of a request: waveform float32 [B, length], zero beyond each end, and num_samples int64 [B, 1]."""
    joined = np.zeros((len(waveforms), length), dtype=np.float32)
    for row, waveform in zip(joined, waveforms, strict=True):
        row[: waveform.size] = waveform
    return {"waveform": joined, "num_samples": np.array([[waveform.size] for waveform in waveforms], dtype=np.int64)}


def check_answer(answer: Answer, spec: ModelSpec, num_clips: int, url: str) -> Arrays:
    """The outputs, float32 [B] of scores and [B, C] of probabilities, if they are what such a model gives.

    Raises:
        TritonAnswerError: another type, shape or number, NaN, values outside their range, or probabilities that don't
            sum to 1.
    """
    outputs = {}
    for tensor in spec.outputs:
        array = answer.outputs[tensor.name]
        shape = (num_clips, len(tensor.labels) or 1)
        fault = None
        if array.dtype != np.float32 or array.shape != shape:
            fault = f"{array.dtype} {list(array.shape)}, not float32 {list(shape)}"
        elif not np.isfinite(array).all():
            fault = "NaN or infinity"
        elif array.min() < tensor.range[0] - _ROUNDING or array.max() > tensor.range[1] + _ROUNDING:
            fault = f"{array.min():.3g} to {array.max():.3g}, outside {tensor.range[0]:g} to {tensor.range[1]:g}"
        elif tensor.labels and np.abs(array.sum(axis=1) - 1).max() > _ROUNDING * len(tensor.labels):
            fault = "probabilities that do not sum to 1"
        if fault:
            raise TritonAnswerError(f"{url}: version {answer.version} gave {fault} as '{tensor.name}'")
        outputs[tensor.name] = array if tensor.labels else array[:, 0]
    return outputs
