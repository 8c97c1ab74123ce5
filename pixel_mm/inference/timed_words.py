"""Words of a transcript with times and confidence, from what is known of its parts: tokens, or another's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from pixel_mm.inference.transcript import Word
from pixel_mm.whisper_tokens import WhisperTokenizer


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a transcript.

    Attributes:
        text: with the spaces around it.
        log_probability: of it; the mean, if it is made of several tokens.
    """

    text: str
    log_probability: float


def parts_of(
    tokens: Sequence[int], log_probabilities: Sequence[float], tokenizer: WhisperTokenizer
) -> tuple[list[Part], list[range]]:
    """A transcript in whole letters: mostly tokens, but some letters have several.

    Args:
        tokens: of the transcript.
        log_probabilities: of each, and perhaps of the end.
        tokenizer: of the model.

    Returns:
        Its parts, and the places of each part's tokens.
    """
    parts, spans, first = [], [], 0
    for last in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[first:last])
        if last == len(tokens) or not text.endswith("\N{REPLACEMENT CHARACTER}"):
            parts.append(Part(text, float(np.mean(log_probabilities[first:last]))))
            spans.append(range(first, last))
            first = last
    return parts, spans


def find_parts(words: Sequence[str], parts: Sequence[Part]) -> list[list[int]]:
    """Which parts say each word; signs around it are none of them, unless it is nothing else.

    Args:
        words: of a transcript, in order.
        parts: of the same, or one that is almost the same.

    Returns:
        Places in `parts`, ascending; empty for a word that none of them has.
    """
    owners = [place for place, part in enumerate(parts) for _ in part.text]
    said = "".join(words)
    matcher = SequenceMatcher(None, said, "".join(part.text for part in parts), autojunk=False)
    owner_of = {
        block.a + step: owners[block.b + step] for block in matcher.get_matching_blocks() for step in range(block.size)
    }
    found, start = [], 0
    for word in words:
        letters = [place for place, sign in enumerate(word, start) if sign.isalnum()]
        places = letters or [place for place, sign in enumerate(word, start) if not sign.isspace()]
        found.append(sorted({owner_of[place] for place in places if place in owner_of}))
        start += len(word)
    return found


def own_tokens(owned: Sequence[Sequence[int]], spans: Sequence[range]) -> list[list[int]]:
    """Tokens of each word that no word before it has, in order.

    Args:
        owned: of `find_parts`.
        spans: of `parts_of`.
    """
    found: list[list[int]] = []
    following = 0
    for places in owned:
        found.append([token for place in places for token in spans[place] if token >= following])
        following = found[-1][-1] + 1 if found[-1] else following
    return found


def share_times(times: Sequence[tuple[float, float]], own: Sequence[bool]) -> list[tuple[float, float]]:
    """Divide the time of a token that several words are in, as in scripts without spaces.

    Args:
        times: of each word, seconds.
        own: whether it has a token of its own; one that has none shares the time of the last that has.
    """
    shared = list(times)
    first = 0
    for last in range(1, len(own) + 1):
        if last == len(own) or own[last]:
            edges = np.linspace(times[first][0], times[first][1], last - first + 1).tolist()
            shared[first:last] = pairwise(edges)
            first = last
    return shared


def make_words(
    words: Sequence[str], owned: Sequence[Sequence[int]], parts: Sequence[Part], times: Sequence[tuple[float, float]]
) -> list[Word]:
    """Put together what is known.

    Args:
        words: of a transcript.
        owned: of `find_parts`.
        parts: of the transcript.
        times: of each word, seconds.

    Returns:
        The words; the confidence of each is the geometric mean of its parts' probabilities, 0 if it has none.
    """
    return [
        Word(
            text=word.strip(),
            start_seconds=start,
            end_seconds=end,
            confidence=float(np.exp(np.mean([parts[place].log_probability for place in places]))) if places else 0.0,
        )
        for word, places, (start, end) in zip(words, owned, times, strict=True)
    ]
