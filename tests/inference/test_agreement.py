import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel_mm.inference.agreement import Agreement, resume
from pixel_mm.inference.seams import split_words

transcripts = st.lists(st.sampled_from([" a", " b", " B,", " c.", " you", " know", " -"]), max_size=9)


def split(text: str) -> list[str]:
    return split_words(f" {text}")


@given(st.lists(transcripts, max_size=12), transcripts, st.lists(transcripts, max_size=2), st.floats(0, 1))
def test_final_words_only_grow_whatever_is_heard(
    heard: list[list[str]], last: list[str], before: list[list[str]], shared: float
) -> None:
    agreement, known = Agreement([word for words in before for word in words]), list[str]()
    for words in heard:
        places = agreement.hear(words, shared)
        assert agreement.final == known + [words[place] for place in places]
        known = list(agreement.final)
    places = agreement.close(last, shared)
    assert agreement.final == known + [last[place] for place in places]
    assert agreement.tentative == []


@given(transcripts)
def test_one_transcript_makes_nothing_final_and_the_last_all(words: list[str]) -> None:
    agreement = Agreement()
    assert not agreement.hear(words)
    assert agreement.tentative == words
    assert agreement.close(words) == range(len(words))
    assert agreement.final == words


def test_what_two_agree_on_is_final_but_for_the_last_word() -> None:
    agreement = Agreement()
    agreement.hear(split("I scream for"))
    assert list(agreement.hear(split("I scream for ice"))) == [0, 1, 2]
    assert agreement.tentative == [" ice"]
    assert not agreement.hear(split("I scream for eyes cream"))  # they disagree
    assert agreement.tentative == [" eyes", " cream"]
    agreement.hear(split("I scream for ice cream now"))
    agreement.hear(split("I scream for ice cream, now or"))  # another sign is another word while it can still change
    assert agreement.final == [" I", " scream", " for", " ice"]
    agreement.close(split("I scream for ice cream. Now or never."))
    assert "".join(agreement.final) == " I scream for ice cream. Now or never."


def test_a_transcript_that_changes_what_is_final_goes_on_after_it() -> None:
    agreement = Agreement()
    agreement.hear(split("the cat sat on the"))
    agreement.hear(split("the cat sat on the mat"))
    assert agreement.final == split("the cat sat on the")
    agreement.hear(split("A cat is sat on a mat and"))
    agreement.hear(split("A cat is sat on a mat and then"))
    assert "".join(agreement.final) == " the cat sat on the mat and"


def test_doubt_in_between_takes_nothing_back_and_agrees_with_nothing() -> None:
    agreement = Agreement()
    agreement.hear(split("one two three"))
    agreement.hear(split("one two three four"))
    agreement.hear([])
    assert (agreement.final, agreement.tentative) == (split("one two three"), [])
    assert not agreement.hear(split("one two three four five"))
    agreement.close([])
    assert agreement.final == split("one two three")


def test_a_window_goes_on_where_the_one_before_ended() -> None:
    agreement = Agreement(split("we said goodbye to all the people there"))
    agreement.hear(split("eople there and went home"), shared=0.5)
    agreement.hear(split("eople there and went home again"), shared=0.5)
    assert agreement.final == split("and went home")
    agreement.close(split("people there and went home again"), shared=0.4)
    assert agreement.final == split("and went home again")


def test_windows_that_are_alike_in_nothing_meet_in_the_middle_of_what_they_share() -> None:
    agreement = Agreement(split("one two three"))
    agreement.close(split("a b c d e f"), shared=0.67)
    assert agreement.final == split("c d e f")


def test_words_that_the_next_window_has_too_are_left_to_it() -> None:
    agreement = Agreement()
    assert agreement.close(split("one two three four"), open_words=1) == range(3)
    agreement = Agreement()
    agreement.hear(split("one two three four"))
    agreement.hear(split("one two three four five"))
    assert not agreement.close(split("one two three four five"), open_words=3)  # but what is final stays
    assert agreement.final == split("one two three four")


@pytest.mark.parametrize(
    ("known", "words", "inside", "expected"),
    [
        ("", "a b", False, 0),
        ("a b", "a b c", False, 2),
        ("a b c", "a x c d", False, 3),
        ("a b c", "a c d", False, 2),
        ("a b", "a x b c", False, 3),
        ("a b c", "", False, 0),
        ("x y a b", "a b c", True, 2),
        ("x y a b", "k a b c", True, 3),
        ("x y a b", "p q r", True, 0),
        ("no no no", "no no no yes", True, 3),
    ],
)
def test_where_a_transcript_goes_on(known: str, words: str, inside: bool, expected: int) -> None:
    assert resume(known.split(), words.split(), inside) == expected
