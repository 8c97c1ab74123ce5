"""Which words of speech that is still going on are final: those that two transcripts in a row agree on.

LocalAgreement-2 (Liu et al., Interspeech 2020; for Whisper Macháček et al., IJCNLP 2023). What was once final stays:
a later transcript can only go on from it.
"""

from collections.abc import Sequence
from itertools import takewhile

from pixel_mm.inference.seams import plain_word

# Final words of the window before that may be heard again: more than anybody says in the seconds that windows share.
_REPEATED_WORDS = 40


class Agreement:
    """Words of one window of speech.

    Args:
        before: final words of the window before, which the beginning of this one repeats; none if it repeats nothing.

    Attributes:
        final: words of this window that will not change; each with the space before it.
        tentative: words after those, as the last transcript has them.
    """

    def __init__(self, before: Sequence[str] = ()) -> None:
        """Begin with a window of which nothing was heard yet."""
        self._before = [plain_word(word) for word in before[-_REPEATED_WORDS:]]
        self.final: list[str] = []
        self.tentative: list[str] = []

    def hear(self, words: Sequence[str], shared: float = 0.0) -> range:
        """Take the next transcript of the window, which has grown.

        The last word is never final: it may be half of one.

        Args:
            words: all of the window's, as `split_words` gives them.
            shared: part of the window that the window before has, too, 0 to 1.

        Returns:
            Places in `words` of those that have become final.
        """
        first = self._go_on(words, shared)
        pairs = zip(self.tentative, words[first:-1], strict=False)
        agreed = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return self._keep(words, first, agreed)

    def close(self, words: Sequence[str], shared: float = 0.0, open_words: int = 0) -> range:
        """Take the window's last transcript: all of it is final.

        Args:
            words: see `hear`.
            shared: see `hear`.
            open_words: last ones that are left out; the next window has them, too.

        Returns:
            See `hear`.
        """
        first = self._go_on(words, shared)
        kept = self._keep(words, first, max(0, len(words) - open_words - first))
        self.tentative = []
        return kept

    def _go_on(self, words: Sequence[str], shared: float) -> int:
        """Where the words after the final ones begin."""
        if not self._before:
            return resume(self._plain_final(), [plain_word(word) for word in words])
        found = resume([*self._before, *self._plain_final()], [plain_word(word) for word in words], inside=True)
        # Nothing is alike: as at other seams, the middle of what is shared.
        return found or min(len(words), len(self.final) + round(len(words) * shared / 2))

    def _keep(self, words: Sequence[str], first: int, number: int) -> range:
        self.final += words[first : first + number]
        self.tentative = list(words[first + number :])
        return range(first, first + number)

    def _plain_final(self) -> list[str]:
        return [plain_word(word) for word in self.final]


def resume(known: Sequence[str], words: Sequence[str], inside: bool = False) -> int:
    """How many words of a transcript stand for those that are known already.

    The beginning of the transcript that is most like them, with a point for each word that both have in common order
    and a point less for each that one of them has alone or else (Needleman and Wunsch, 1970); of equals the longest,
    since a word was rather misheard than invented.

    Args:
        known: final words, without signs and capitals.
        words: the transcript's, the same way.
        inside: the transcript may begin anywhere within the known words, and with half a word (ends free, as for
            overlapping sequences); 0 if nothing is alike.
    """
    if not inside and list(words[: len(known)]) == list(known):
        return len(known)
    row = [-place for place in range(len(words) + 1)]
    for number, ours in enumerate(known, start=1):
        after = [0 if inside else -number]
        for place, theirs in enumerate(words):
            matched = row[place] + (1 if ours == theirs else -1)
            after.append(max(matched, row[place + 1] - 1, after[place] - 1))
        if inside and words:
            after[1] = max(after[1], 0)
        row = after
    best = max(row)
    if inside and best <= 0:
        return 0
    return len(row) - 1 - row[::-1].index(best)
