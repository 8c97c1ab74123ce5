"""Joins transcripts of windows that overlap, so that no word of the seam is said twice or left out."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters. There a sign is a unit.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")
_NO_LETTERS = re.compile(r"[^\w']+")
# Words that match by accident: one that stands alone is only believed if it is about where it should be.
_SHORTEST_MATCH = 2


def split_words(text: str) -> list[str]:
    """Words, each with the space before it, or signs where a script has no spaces; joined they are the text."""
    return _WORD.findall(text.rstrip())


def join_words(first: Sequence[str], second: Sequence[str], first_share: float, second_share: float) -> tuple[int, int]:
    """Where to leave one transcript and go on with the next.

    The words of the overlap are in both, heard with more of what is before in the first and of what is after in the
    second. What both agree on lies over each other; the seam is in the middle of it. If they agree on nothing, it is
    in the middle of the overlap, as far as words of equal length tell.

    Args:
        first: words of a window.
        second: words of the next.
        first_share: of the first window that the overlap is, 0 to 1.
        second_share: of the second window.

    Returns:
        How many words of the first to keep, and how many of the second to leave out.
    """
    tail, head = _middle(first, first_share), _middle(second, second_share)
    # Speech is not even: look for twice the overlap's words.
    start = max(0, len(first) - 2 * tail - 1)
    ours, theirs = [plain_word(word) for word in first[start:]], [plain_word(word) for word in second[: 2 * head + 1]]
    match = SequenceMatcher(None, ours, theirs, autojunk=False).find_longest_match()
    if match.size >= min(_SHORTEST_MATCH, len(ours), len(theirs)) and match.size:
        half = (match.size + 1) // 2
        return start + match.a + half, match.b + half
    return len(first) - tail // 2, head - head // 2


def _middle(words: Sequence[str], share: float) -> int:
    return round(len(words) * share)


def plain_word(word: str) -> str:
    """A word without signs and capitals, as two transcripts are compared."""
    return _NO_LETTERS.sub("", word).lower()
