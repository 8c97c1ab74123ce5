import pytest

from pixel_mm.inference.seams import join_words, split_words


def joined(first: str, second: str, share: float = 0.3) -> str:
    ours, theirs = split_words(first), split_words(second)
    kept, left_out = join_words(ours, theirs, share, share)
    return "".join([*ours[:kept], *theirs[left_out:]]).strip()


def test_words_of_the_overlap_are_said_once() -> None:
    first = "the quick brown fox jumps over the lazy dog and"
    assert joined(first, " Over the lazy dog, and runs into the wood") == (
        "the quick brown fox jumps over the lazy dog, and runs into the wood"
    )


def test_what_a_window_heard_badly_at_its_edge_is_taken_from_the_other() -> None:
    assert joined(
        "he went to the market and bought a box of fresh app", "tomarket and bought a box of fresh apples"
    ) == ("he went to the market and bought a box of fresh apples")


def test_a_word_that_comes_again_does_not_mislead() -> None:
    first = "no no no said the old man and shut the door"
    assert joined(first, " the old man and shut the door no no no he said") == (
        "no no no said the old man and shut the door no no no he said"
    )


def test_without_a_common_word_the_middle_of_the_overlap_is_the_seam() -> None:
    assert joined("a b c d e f", "t u v w x y", share=1 / 3) == "a b c d e u v w x y"


def test_scripts_without_spaces_are_joined_by_signs() -> None:
    assert joined("今日はとても良い天気です", "良い天気ですね散歩に行きましょう", share=0.4) == (
        "今日はとても良い天気ですね散歩に行きましょう"
    )


@pytest.mark.parametrize(("first", "second", "whole"), [("", "hello you", "hello you"), ("hello you", "", "hello you")])
def test_an_empty_side_takes_nothing_away(first: str, second: str, whole: str) -> None:
    assert joined(first, second, share=0.0) == whole


def test_split_words_loses_nothing() -> None:
    for text in ("it's a test, isn't it?", "今日は hello 天気", "สวัสดี", ""):
        assert "".join(split_words(text)) == text
