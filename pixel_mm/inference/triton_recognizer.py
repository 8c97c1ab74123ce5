"""A model on a Triton server behind the interface of the model that runs here.

    recognizer = connect_recognizer("localhost:8001", "emotion")
    recognizer(waveform, sample_rate_hz=48_000).scores["arousal"]

The command takes it too: python -m pixel_mm.inference.audio_emotion_recognition grpc://localhost:8001/emotion FILES
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import urlsplit

from pixel_mm.audio import Waveform
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.emotion_estimate import Arrays, EmotionEstimate
from pixel_mm.inference.triton_client import CallLimits, Health, TritonEmotionClient
from pixel_mm.inference.triton_loop import wait_for
from pixel_mm.inference.triton_transport import Protocol

_CLIPS_PER_DEADLINE = 64


class TritonEmotionRecognizer(AudioEmotionRecognizer):
    """`AudioEmotionRecognizer` whose model runs on a server; safe to call from any thread.

    Besides what that raises, every method raises `TritonClientError`. The client's deadline is for each 64 clips or
    windows of a call, so that an hour's timeline does not need another one than a clip.

    Args:
        client: that asks the server.
    """

    def __init__(self, client: TritonEmotionClient) -> None:
        """Score with a client of the background loop; most callers want `connect_recognizer`."""
        super().__init__(client.spec, _never)
        self._client = client

    def health(self) -> Health:
        """Ask the server how it is."""
        return wait_for(self._client.health())

    def close(self) -> None:
        """End the connection."""
        wait_for(self._client.close())

    def __enter__(self) -> "TritonEmotionRecognizer":
        """The recogniser itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _score(self, waveforms: Sequence[Waveform], starts: Sequence[int] | None = None) -> list[EmotionEstimate]:
        version = self._client.draw_version()
        estimates = []
        for first in range(0, len(waveforms), _CLIPS_PER_DEADLINE):
            part = slice(first, first + _CLIPS_PER_DEADLINE)
            work = self._client.score_prepared(waveforms[part], starts and starts[part], version=version)
            estimates += wait_for(work)
        return estimates


def connect_recognizer(
    url: str,
    model: str = "emotion",
    protocol: Protocol = "grpc",
    versions: Mapping[str, float] | None = None,
    limits: CallLimits | None = None,
    seed: int | None = None,
) -> TritonEmotionRecognizer:
    """Find a model on a server; see `TritonEmotionClient.connect`.

    Raises:
        TritonClientError: no server, no such model, or none that this client can use.
        ValueError: impossible options.
    """
    return TritonEmotionRecognizer(wait_for(TritonEmotionClient.connect(url, model, protocol, versions, limits, seed)))


def connect_address(address: str) -> TritonEmotionRecognizer:
    """Find a model by an address like `grpc://localhost:8001/emotion` or `http://localhost:8000/emotion`.

    Raises:
        TritonClientError: see `connect_recognizer`.
        ValueError: no such address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("grpc", "http") or not parts.path.strip("/"):
        raise ValueError(f"'{address}' is no address of a model; give grpc://HOST:PORT/MODEL or http://HOST:PORT/MODEL")
    protocol: Protocol = "grpc" if parts.scheme == "grpc" else "http"
    return connect_recognizer(parts.netloc, parts.path.strip("/"), protocol)


def _never(inputs: Arrays) -> Arrays:
    raise AssertionError("scored by the server")
