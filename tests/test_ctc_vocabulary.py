from pathlib import Path

import pytest

from pixel_mm.ctc_vocabulary import CtcVocabulary, VocabularyError, characters_of


def test_a_text_comes_back_from_its_classes() -> None:
    vocabulary = CtcVocabulary(characters_of(["HELLO  there", "you"]))
    classes = vocabulary.encode("Hello you")
    assert 0 not in classes
    frames = [each for pair in classes for each in (pair, pair, 0)]
    assert vocabulary.decode(frames) == "hello you"
    assert vocabulary.decode([]) == ""


def test_a_letter_twice_needs_a_blank_between() -> None:
    vocabulary = CtcVocabulary(["a", "l"])
    assert vocabulary.decode([1, 2, 2, 2]) == "al"
    assert vocabulary.decode([1, 2, 0, 2]) == "all"


def test_the_order_of_texts_changes_nothing_and_accents_are_composed() -> None:
    found = characters_of(["ba", "e\u0301"])
    assert found == characters_of(["\u00e9", "ab"]) == ["a", "b", "\u00e9"]
    assert CtcVocabulary(found).num_classes == 4


def test_a_missing_character_is_named() -> None:
    told = r"the vocabulary lacks '\u00df' \(LATIN SMALL LETTER SHARP S\)"
    with pytest.raises(VocabularyError, match=told):
        CtcVocabulary(["a"]).encode("A\u00df")


def test_it_is_saved_and_read(tmp_path: Path) -> None:
    CtcVocabulary(["\u00e9", " "]).save(tmp_path / "vocabulary.json")
    assert CtcVocabulary.load(tmp_path / "vocabulary.json").characters == ("\u00e9", " ")


@pytest.mark.parametrize(
    ("content", "told"), [("{", "cannot be read"), ("{}", "JSON list"), ('["ab"]', "'ab', which is not")]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "vocabulary.json").write_text(content, encoding="utf-8")
    with pytest.raises(VocabularyError, match=told):
        CtcVocabulary.load(tmp_path / "vocabulary.json")


def test_a_vocabulary_has_each_character_once() -> None:
    for characters in ([], ["a", "a"]):
        with pytest.raises(VocabularyError, match="each character has one class"):
            CtcVocabulary(characters)
