"""Where somebody speaks, by Silero's voice activity detector (Silero Team, MIT) over onnxruntime.

The network is a file of the wheel `silero-vad`, which is read without importing that package: it would import torch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.pretrained import PretrainedError

FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64  # of the frame before, which the network gets with each
_FRAMES_AT_ONCE = 1024
_MODEL = "silero_vad/data/silero_vad_16k_sequence.onnx"

SPEECH_BEGINS, SPEECH_ENDS = 0.5, 0.35
"""The detector's published thresholds: speech begins above the one, and ends below the other."""
SHORTEST_PAUSE_SECONDS = 0.3
"""A breath within a sentence is no pause."""
SHORTEST_SPEECH_SECONDS = 0.1
"""Less than this above the threshold is a click."""
MARGIN_SECONDS = 0.4
"""Quiet first and last sounds of words lie outside what the detector is sure of."""


class VoiceActivity:
    """Tells for each 32 ms how probable it is that somebody speaks.

    Args:
        session: of the network.
    """

    def __init__(self, session: Any) -> None:
        """Take a session; most callers want `load`."""
        self._session = session

    @classmethod
    def load(cls) -> "VoiceActivity":
        """Load the network out of the installed wheel.

        Raises:
            PretrainedError: the wheel is not installed, or is another version without this network.
        """
        import onnxruntime

        try:
            path = metadata.distribution("silero-vad").locate_file(_MODEL)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1  # its matrices are too small to share
            options.log_severity_level = 3
            return cls(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        except metadata.PackageNotFoundError:
            raise PretrainedError("wheel silero-vad is not installed; run: pip install 'silero-vad>=6.2.3'") from None
        except onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile:
            raise PretrainedError(f"{path} is missing; run: pip install 'silero-vad>=6.2.3'") from None

    def probabilities(self, blocks: Iterable[Waveform]) -> NDArray[np.float32]:
        """Listen to a recording.

        Args:
            blocks: its samples in order, float32 at 16 kHz, cut anywhere.

        Returns:
            float32, one per 512 samples; the last of them padded with silence.
        """
        hear = self.listen()
        return np.concatenate([np.zeros(0, dtype=np.float32), *(hear(frames) for frames in _frames(blocks))])

    def listen(self) -> Callable[[Waveform], NDArray[np.float32]]:
        """Begin with a recording that comes bit by bit.

        Returns:
            What takes its next frames, float32 [N, 512] at 16 kHz, N >= 1, and gives the probabilities of those,
            float32 [N].
        """
        state = {name: np.zeros((1, 1, 128), dtype=np.float32) for name in ("h", "c")}
        before = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)

        def hear(frames: Waveform) -> NDArray[np.float32]:
            nonlocal before
            contexts = np.concatenate([before[None], frames[:-1, -_CONTEXT_SAMPLES:]])
            before = frames[-1, -_CONTEXT_SAMPLES:]
            given = {"input": np.concatenate([contexts, frames], axis=1), **state}
            speech: NDArray[np.float32]
            speech, state["h"], state["c"] = self._session.run(["speech_probs", "hn", "cn"], given)
            return speech

        return hear


def speech_stretches(probabilities: NDArray[np.float32], num_samples: int) -> list[tuple[int, int]]:
    """Where somebody speaks, with a margin on both sides, up to the middle of a pause that is shorter than two.

    Args:
        probabilities: of `VoiceActivity.probabilities`.
        num_samples: length of the recording.

    Returns:
        (start, end) in samples, end exclusive, in order and apart.
    """
    margin = round(MARGIN_SECONDS * SAMPLE_RATE_HZ)
    found: list[tuple[int, int]] = []
    for start, end in _spoken(probabilities):
        if (end - start) * FRAME_SAMPLES < SHORTEST_SPEECH_SECONDS * SAMPLE_RATE_HZ:
            continue
        first, last = max(0, start * FRAME_SAMPLES - margin), min(num_samples, end * FRAME_SAMPLES + margin)
        if found and first < found[-1][1]:
            first = (first + found[-1][1]) // 2  # both margins are of one length, so that this is the pause's middle
            found[-1] = (found[-1][0], first)
        found.append((first, last))
    return found


def pack(
    stretches: Sequence[tuple[int, int]], max_seconds: float, overlap_seconds: float, max_pause_seconds: float
) -> list[tuple[int, int]]:
    """Windows for a model that takes so much at once: cut in pauses, and only where there is none, with overlap.

    Args:
        stretches: of `speech_stretches`.
        max_seconds: longest window.
        overlap_seconds: what neighbours share where speech goes on for longer than a window.
        max_pause_seconds: longest pause within a window.

    Returns:
        (start, end) in samples, in order; a window that begins before its predecessor ends overlaps it.
    """
    longest, overlap, pause = (
        round(each * SAMPLE_RATE_HZ) for each in (max_seconds, overlap_seconds, max_pause_seconds)
    )
    found: list[tuple[int, int]] = []
    for start, end in stretches:
        if found and start - found[-1][1] <= pause and end - found[-1][0] <= longest:
            start = found.pop()[0]
        while end - start > longest:
            found.append((start, start + longest))
            start += longest - overlap
        found.append((start, end))
    return found


def _frames(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """The samples as frames, float32 [some, 512]."""
    size = _FRAMES_AT_ONCE * FRAME_SAMPLES
    rest = np.zeros(0, dtype=np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while rest.size >= size:
            yield rest[:size].reshape(-1, FRAME_SAMPLES)
            rest = rest[size:]
    if rest.size:
        yield np.pad(rest, (0, -rest.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)


def _spoken(probabilities: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """First frame and end of each stretch between two pauses."""
    shortest_pause = SHORTEST_PAUSE_SECONDS * SAMPLE_RATE_HZ / FRAME_SAMPLES
    start, last = None, 0
    for frame, probability in enumerate(probabilities):
        if probability >= (SPEECH_BEGINS if start is None else SPEECH_ENDS):
            start, last = (frame if start is None else start), frame
        elif start is not None and frame - last > shortest_pause:
            yield start, last + 1
            start = None
    if start is not None:
        yield start, last + 1
