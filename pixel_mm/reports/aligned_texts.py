"""What was said above what was heard, word under word, with a mark under each error.

    said:  he hoped there would *    be stew
    heard: he *     there would ever be stool
              D                 I       S

S is a word heard as another, D one that is missing, I one that nobody said; a star stands where a text has no word.
"""

import unicodedata
from collections.abc import Iterator

import jiwer

_MARKS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}
_LABELS = ("said:  ", "heard: ", "       ")


def aligned_texts(reference: str, hypothesis: str, width: int = 100) -> str:
    """Align two texts by the fewest errors.

    Args:
        reference: what was said, normalised already; may be empty.
        hypothesis: what was heard, likewise.
        width: columns of a line; a longer text goes on in further lines. A word wider than that keeps a line whole.

    Returns:
        Three lines for each part that fits into `width`, parts with an empty line between them.
    """
    blocks: list[list[tuple[str, str, str]]] = [[]]
    used = len(_LABELS[0])
    for column in _columns(reference.split(), hypothesis.split()):
        size = max(map(_cells, column)) + 1
        if blocks[-1] and used + size > width:
            blocks.append([])
            used = len(_LABELS[0])
        blocks[-1].append(column)
        used += size
    return "\n\n".join(_lines(block) for block in blocks)


def _columns(said: list[str], heard: list[str]) -> Iterator[tuple[str, str, str]]:
    """Word said, word heard and mark, of each place of the alignment."""
    if not said or not heard:
        yield from ((word, "*", "D") for word in said)
        yield from (("*", word, "I") for word in heard)
        return
    for chunk in jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]:
        mark = _MARKS[chunk.type]
        first = said[chunk.ref_start_idx : chunk.ref_end_idx]
        second = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for place in range(max(len(first), len(second))):
            yield (first[place] if first else "*", second[place] if second else "*", mark)


def _lines(columns: list[tuple[str, str, str]]) -> str:
    """Three lines of one part."""
    rows = list(_LABELS)
    for column in columns:
        size = max(map(_cells, column))
        for row, text in enumerate(column):
            rows[row] += text + " " * (size - _cells(text) + 1)
    return "\n".join(row.rstrip() for row in rows)


def _cells(text: str) -> int:
    """Columns that a text takes up in a terminal: two for a wide letter, none for an accent of its own."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
