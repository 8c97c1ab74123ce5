"""Beam search: several transcripts of a clip are followed at a time, and the best per token wins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.models.speech_recognition.token_rules import TokenRules, log_softmax

if TYPE_CHECKING:
    from pixel_mm.models.speech_recognition.decoding import DecodingOptions, SpeechDecoder


@dataclass(slots=True)
class Path:
    """A transcript that is being made.

    Attributes:
        tokens: so far, without the end.
        log_probabilities: of each, and of the end once it is reached.
    """

    tokens: list[int]
    log_probabilities: list[float]

    @property
    def mean(self) -> float:
        """Log-probability per token; of nothing, the worst."""
        return float(np.mean(self.log_probabilities)) if self.log_probabilities else -np.inf

    def grown(self, token: int, log_probability: float, end: int) -> "Path":
        """With one token more."""
        tokens = self.tokens if token == end else [*self.tokens, token]
        return Path(tokens, [*self.log_probabilities, log_probability])


Tell = Callable[[Sequence[Path]], None]
"""Gets, after each token, what is certain of each clip's transcript."""


class _Beam:
    """The transcripts of one clip."""

    def __init__(self, size: int, end: int) -> None:
        self.size, self.end = size, end
        self.open = [Path([], []) for _ in range(size)]
        self.finished: list[Path] = []

    @property
    def done(self) -> bool:
        return len(self.finished) >= self.size

    def grow(self, scores: NDArray[np.float32]) -> list[tuple[int, int]]:
        """Take the best continuations, of log-probabilities float32 [size, V].

        Returns:
            For each transcript that is open now: which it continues, and its last token.
        """
        totals = np.array([sum(path.log_probabilities) for path in self.open])
        if not self.open[0].tokens:
            scores = scores[:1]  # at first all are the same
        best = np.argpartition(-scores, self.size, axis=1)[:, : self.size + 1]
        candidates = [
            (totals[row] + scores[row, token], row, int(token)) for row in range(len(scores)) for token in best[row]
        ]
        kept: list[tuple[int, int]] = []
        paths: list[Path] = []
        for _, row, token in sorted(candidates, key=lambda each: (-each[0], each[1:])):
            path = self.open[row].grown(token, float(scores[row, token]), self.end)
            if token == self.end:
                self.finished.append(path)
            else:
                kept.append((row, token))
                paths.append(path)
            if len(paths) == self.size:
                break
        self.open = paths
        return kept

    def best(self) -> Path:
        return max(self.finished[: self.size] or self.open, key=lambda path: path.mean)

    def certain(self) -> Path:
        """What all that can still win begin with."""
        paths = [*self.finished[: self.size], *self.open]
        columns = zip(*(path.tokens for path in paths), strict=False)
        shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
        return Path(paths[0].tokens[:shared], paths[0].log_probabilities[:shared])


def search_beams(
    decoder: "SpeechDecoder",
    heard: Any,
    logits: NDArray[np.float32],
    past: Any,
    rules: TokenRules,
    options: "DecodingOptions",
    tell: Tell | None = None,
) -> list[Path]:
    """The transcript with the best log-probability per token among those followed; arguments as in `search_greedily`.

    A clip is done when as many transcripts have ended as are followed; it leaves the batch then.
    """
    size = options.beam_size
    beams = [_Beam(size, rules.end) for _ in logits]
    running = list(beams)
    rows = np.repeat(np.arange(len(beams)), size)
    heard, past, logits = decoder.choose_heard(heard, rows), decoder.choose_past(past, rows), logits[rows]
    for number in range(options.max_tokens):
        rules.apply(logits, [path.tokens for beam in running for path in beam.open])
        scores = log_softmax(logits).reshape(len(running), size, -1)
        grown = [beam.grow(each) for beam, each in zip(running, scores, strict=True)]
        if tell is not None:
            tell([beam.certain() for beam in beams])
        kept = [place for place, beam in enumerate(running) if not beam.done]
        if not kept or number + 1 == options.max_tokens:
            break
        parents = np.array([place * size + row for place in kept for row, _ in grown[place]])
        tokens = np.array([[token] for place in kept for _, token in grown[place]])
        if len(kept) < len(running):
            heard = decoder.choose_heard(heard, _rows_of(kept, size))
        running = [running[place] for place in kept]
        scores_after, past = decoder.step(heard, tokens, decoder.choose_past(past, parents))
        logits = scores_after[:, 0]
    return [beam.best() for beam in beams]


def _rows_of(places: Sequence[int], size: int) -> NDArray[np.int64]:
    return np.array([place * size + row for place in places for row in range(size)])
