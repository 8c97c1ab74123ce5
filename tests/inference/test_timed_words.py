import numpy as np
import pytest

from pixel_mm.inference.seams import split_words
from pixel_mm.inference.timed_words import Part, find_parts, make_words, own_tokens, parts_of, share_times
from tests.tiny_recognition import tiny_tokenizer


def test_a_letter_of_several_tokens_is_one_part() -> None:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer.encode(" pé.")
    parts, spans = parts_of(tokens, [-0.5] * 2 + [-1.5] * (len(tokens) - 1), tokenizer)
    assert [part.text for part in parts] == [" p", "é", "."]
    assert spans == [range(0, 1), range(1, 3), range(3, 4)]
    assert [part.log_probability for part in parts] == pytest.approx([-0.5, -1.0, -1.5])


def test_signs_around_a_word_are_no_part_of_it() -> None:
    parts = [Part(text, 0.0) for text in (' "', "it", "'s", " a", ' test"', ",", " —", " yes")]
    words = split_words('"it\'s a test", — yes')
    assert find_parts(words, parts) == [[1, 2], [3], [4], [6], [7]]


def test_a_word_that_the_other_did_not_hear_has_no_part() -> None:
    parts = [Part(text, 0.0) for text in (" the", " dog", " and")]
    assert find_parts(["the", " cat's", " and"], parts)[::2] == [[0], [2]]
    assert find_parts([], []) == []


def test_words_that_share_a_token_share_its_time() -> None:
    parts = [Part(text, 0.0) for text in ("ます", "か")]
    owned = find_parts(split_words("ますか"), parts)
    assert owned == [[0], [0], [1]]
    tokens = own_tokens(owned, [range(0, 2), range(2, 3)])
    assert tokens == [[0, 1], [], [2]]
    times = share_times([(1.0, 2.0), (2.0, 2.0), (2.5, 3.0)], [bool(each) for each in tokens])
    assert times == [(1.0, 1.5), (1.5, 2.0), (2.5, 3.0)]


def test_confidence_is_that_of_the_parts() -> None:
    parts = [Part(" no", float(np.log(0.9))), Part("body", float(np.log(0.4))), Part(".", -9.0)]
    (word,) = make_words([" nobody."], [[0, 1]], parts, [(0.1, 0.5)])
    assert (word.text, word.start_seconds, word.end_seconds) == ("nobody.", 0.1, 0.5)
    assert word.confidence == pytest.approx(0.6)
    assert make_words(["x"], [[]], parts, [(0.0, 0.0)])[0].confidence == 0.0
