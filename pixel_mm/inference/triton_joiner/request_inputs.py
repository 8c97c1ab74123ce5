"""What a client asks of a joining model: read and checked before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.models.speech_recognition.decoding import DecodingOptions

RATE_HZ = 16_000


@dataclass(frozen=True)
class Limits:
    """What may be asked.

    Attributes:
        min_samples: of a waveform at 16 kHz.
        max_samples: of the same.
        max_beam_size: transcripts that may be followed at a time.
        max_tokens: of a transcript.
        tokens_per_partial: after how many tokens a client hears of them.
    """

    min_samples: int
    max_samples: int
    max_beam_size: int
    max_tokens: int
    tokens_per_partial: int

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Limits":
        """Read them from a configuration's parameters.

        Raises:
            ValueError: one is missing or no number.
        """
        try:
            samples = [round(float(parameters[name]) * RATE_HZ) for name in ("min_seconds", "max_seconds")]
            names = ("max_beam_size", "max_tokens", "tokens_per_partial")
            return cls(*samples, *(int(parameters[name]) for name in names))
        except KeyError as error:
            raise ValueError(f"config.pbtxt lacks the parameter {error}; export the models again") from None


def read_waveform(waveform: NDArray[Any] | None, limits: Limits) -> NDArray[np.float32]:
    """The waveform of a request, float32 [samples].

    Raises:
        ValueError: it is missing, too short, too long, or has values that are no numbers.
    """
    if waveform is None:
        raise ValueError("waveform is missing; give float32 [samples], mono, 16 kHz")
    if not limits.min_samples <= waveform.size <= limits.max_samples:
        raise ValueError(
            f"waveform has {waveform.size} samples ({waveform.size / RATE_HZ:.3f} s); give {limits.min_samples} to "
            f"{limits.max_samples} at 16 kHz, longer recordings in pieces"
        )
    if not np.isfinite(waveform).all():
        raise ValueError(f"waveform has {np.count_nonzero(~np.isfinite(waveform))} samples that are NaN or infinite")
    return waveform.astype(np.float32, copy=False).reshape(-1)


def read_options(inputs: Mapping[str, NDArray[Any] | None], limits: Limits, multilingual: bool) -> DecodingOptions:
    """How to search, of the optional inputs `language`, `beam_size` and `hot_words`.

    Without a language a multilingual model finds it, as with an empty one.

    Raises:
        ValueError: an impossible value.
    """
    given = _texts("language", inputs["language"])
    language = given[0] if given and given[0] else (None if multilingual else "en")
    beam_size = inputs["beam_size"]
    size = 1 if beam_size is None else int(beam_size.reshape(-1)[0])
    if not 1 <= size <= limits.max_beam_size:
        raise ValueError(f"beam_size is {size}; this model takes 1 to {limits.max_beam_size}")
    hot_words = tuple(_texts("hot_words", inputs["hot_words"]))
    return DecodingOptions(language=language, max_tokens=limits.max_tokens, beam_size=size, hot_words=hot_words)


def _texts(name: str, values: NDArray[Any] | None) -> list[str]:
    if values is None:
        return []
    try:
        return [value.decode("utf-8") for value in values.reshape(-1)]
    except (AttributeError, UnicodeDecodeError):
        raise ValueError(f"{name} is no text in UTF-8") from None
