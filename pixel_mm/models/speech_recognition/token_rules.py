"""Which tokens may come next in a transcript: the rules of Whisper's published decoder, and hot words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixel_mm.whisper_tokens import TIMESTAMP_SECONDS, WhisperTokenizer

MAX_FIRST_TIMESTAMP_SECONDS = 1.0
"""A transcript with timestamps begins no later, as published."""
_NEVER = np.float32(-np.inf)


class TokenRules:
    """Forbids and favours tokens.

    Attributes:
        end: the token that ends a transcript.
    """

    def __init__(
        self, tokenizer: WhisperTokenizer, timestamps: bool, hot_words: Sequence[str] = (), hot_word_bias: float = 0.0
    ) -> None:
        """Prepare them.

        Args:
            tokenizer: of the model.
            timestamps: whether timestamps are wanted.
            hot_words: words and phrases, as they shall be written.
            hot_word_bias: added to the score of a token that begins or goes on with one of them.
        """
        self.end, self._timestamps, self._bias = tokenizer.end, timestamps, np.float32(hot_word_bias)
        self._first_timestamp = tokenizer.first_timestamp
        self._last_first = tokenizer.first_timestamp + round(MAX_FIRST_TIMESTAMP_SECONDS / TIMESTAMP_SECONDS)
        beyond = tokenizer.first_timestamp if timestamps else tokenizer.num_tokens
        steering = range(tokenizer.end + 1, beyond)
        self._forbidden = np.array(sorted({*tokenizer.suppressed, *steering}))
        self._forbidden_first = np.array(tokenizer.suppressed_first)
        self._hot = [tokenizer.encode(f" {word.strip()}") for word in hot_words if word.strip()]

    def apply(self, logits: NDArray[np.float32], histories: Sequence[Sequence[int]]) -> None:
        """Change scores in place.

        Args:
            logits: float32 [B, V].
            histories: of each row, the tokens of the transcript so far.
        """
        logits[:, self._forbidden] = _NEVER
        for row, history in zip(logits, histories, strict=True):
            if not history:
                row[self._forbidden_first] = _NEVER
            if self._hot:
                self._favour(row, history)
            if self._timestamps:
                self._pair_timestamps(row, history)

    def _favour(self, row: NDArray[np.float32], history: Sequence[int]) -> None:
        """Add the bias once to each token that begins a hot word, or goes on with one that has begun."""
        wanted = {
            word[done]
            for word in self._hot
            for done in range(min(len(word), len(history) + 1))
            if list(history[len(history) - done :]) == word[:done]
        }
        row[list(wanted)] += self._bias

    def _pair_timestamps(self, row: NDArray[np.float32], history: Sequence[int]) -> None:
        """A phrase lies between two timestamps, time does not run back, and what is likelier than text is a time."""
        first = self._first_timestamp
        if not history:
            row[:first] = _NEVER
            row[self._last_first + 1 :] = _NEVER
            return
        times = [token for token in history if token >= first]
        after_time = history[-1] >= first
        if after_time and (len(history) < 2 or history[-2] >= first):
            row[first:] = _NEVER  # a phrase has begun
        elif after_time:
            row[: self.end] = _NEVER  # a phrase has ended: another begins, or the transcript ends
        if times:
            row[first : times[-1] + (0 if after_time else 1)] = _NEVER
        top = row.max()
        shares = np.exp(row - top)
        if shares[first:].sum() > shares[:first].max():
            row[:first] = _NEVER


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities, float32 [B, V]; minus infinity stays what it is."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
