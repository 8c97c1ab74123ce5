from itertools import pairwise

import numpy as np
import pytest

from pixel_mm.data.corpora.divided import Division, DivisionError
from pixel_mm.training.transcript_divider import divide, find_pieces

SECOND = 16_000


def seconds(*places: tuple[float, float]) -> list[tuple[int, int]]:
    return [(round(start * SECOND), round(end * SECOND)) for start, end in places]


def test_stretches_are_heard_together_up_to_12_seconds() -> None:
    stretches = seconds((0, 5), (5.5, 11), (11, 14), (14.5, 40))
    assert find_pieces(stretches) == seconds((0, 11), (11, 14), (14.5, 40))


def test_nobody_or_somebody_without_a_pause_is_no_recording_to_divide() -> None:
    with pytest.raises(DivisionError, match=r"nobody pauses from 2\.0 s to 33\.0 s"):
        find_pieces(seconds((0, 1), (2, 33)))
    with pytest.raises(DivisionError, match="nobody speaks"):
        find_pieces([])


def test_a_text_goes_with_its_audio_in_its_own_spelling() -> None:
    pieces = seconds((0, 10), (10.5, 20), (21, 31), (32, 41))
    heard = ["he said hello", "and went home", "in the rain", "it was late"]
    found = divide(pieces, heard, "He said: Hello! And went -- home, in the rain. It was LATE.")
    assert found == [
        Division(0, 20 * SECOND, "He said: Hello! And went -- home,"),
        Division(21 * SECOND, 41 * SECOND, "in the rain. It was LATE."),
    ]


def test_it_is_divided_only_where_the_words_around_a_pause_are_sure() -> None:
    pieces = seconds((0, 10), (10.5, 20), (21, 30.5), (31, 40))
    said = "one two three four five six seven eight"
    sure = divide(pieces, ["one two", "three four", "five six", "seven eight"], said)
    assert [part.transcript for part in sure] == ["one two three four", "five six seven eight"]
    # "four" is missing at the end of what is heard, so that it may stand on either side of the pause.
    other = divide(pieces, ["one two", "three", "five six", "seven eight"], said)
    assert [part.transcript for part in other] == ["one two", "three four five six seven eight"]
    with pytest.raises(DivisionError, match=r"within 30 s from 0\.0 s on, no pause"):
        divide(pieces, ["one tow", "three for", "five sicks", "seven eight"], said)


def test_no_word_is_parted_and_none_is_lost() -> None:
    pieces = seconds((0, 14), (15, 29), (30, 44))
    said = "all of it - twenty-one times over"
    found = divide(pieces, ["all of it", "twenty", "one times over"], said)
    assert " ".join(part.transcript for part in found) == said
    assert [(part.end, part.transcript) for part in found] == [
        (14 * SECOND, "all of it -"),
        (44 * SECOND, "twenty-one times over"),
    ]


def test_a_transcript_of_another_clip_is_refused() -> None:
    pieces = seconds((0, 14), (15, 29), (30, 44))
    with pytest.raises(DivisionError, match="'nothing like the text' is heard where 'a b c d"):
        divide(pieces[:2], ["nothing", "like the text"], "a b c d e f")
    with pytest.raises(DivisionError):
        divide(pieces, ["", "", ""], "a b c")


def test_random_recordings_keep_order_length_and_words() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        lengths, pauses = rng.uniform(1, 11, 12), rng.uniform(0.3, 2, 12)
        starts = np.cumsum(pauses) + np.concatenate([[0], np.cumsum(lengths)[:-1]])
        pieces = seconds(*zip(starts, starts + lengths, strict=True))
        texts = [" ".join(f"w{number}x{word}" for word in range(rng.integers(1, 6))) for number in range(12)]
        found = divide(pieces, texts, " ".join(texts))
        assert " ".join(part.transcript for part in found) == " ".join(texts)
        assert all(part.end - part.start <= 30 * SECOND for part in found)
        assert all(one.end <= other.start for one, other in pairwise(found))
