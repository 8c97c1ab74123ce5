"""Whisper's tokenizer, on one of its own kind made here, and on the published ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from pixel_mm.pretrained import wheel_file
from pixel_mm.whisper_tokens import TokenizerError, WhisperTokenizer
from tests.tiny_recognition import PUBLISHED, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny() -> WhisperTokenizer:
    return tiny_tokenizer()


def test_prompts_name_language_and_task_where_the_model_knows_more_than_english(tiny: WhisperTokenizer) -> None:
    assert not tiny.multilingual
    assert tiny.prompt() == (tiny.start, tiny.no_timestamps)
    assert tiny.prompt(timestamps=True) == (tiny.start,)
    with pytest.raises(TokenizerError, match="language 'de' is none that this model knows; it knows en"):
        tiny.prompt("de")
    with pytest.raises(TokenizerError, match="task 'translate'"):
        tiny.prompt(task="translate")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_text_comes_back(text: str) -> None:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer.encode(text)
    assert all(token < tokenizer.end for token in tokens)
    assert tokenizer.decode(tokens) == text.replace("<|", "< |")


def test_steering_tokens_are_no_text(tiny: WhisperTokenizer) -> None:
    assert tiny.decode([tiny.start, *tiny.encode("so"), tiny.end, tiny.first_timestamp]) == "so"
    assert tiny.start not in tiny.encode("<|startoftranscript|>")


def test_words_begin_with_spaces_and_letters_stay_whole(tiny: WhisperTokenizer) -> None:
    tokens = [*tiny.encode(" caf\u00e9 s\u00ed, no"), tiny.end]
    assert [tiny.decode(word) for word in tiny.split_words(tokens)] == [" caf\u00e9", " s\u00ed,", " no"]
    assert tiny.split_words([]) == []


def test_what_is_not_whispers_is_refused(tmp_path: Path, tiny: WhisperTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"none\.json is missing"):
        WhisperTokenizer.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"bad\.json is no tokenizer"):
        WhisperTokenizer.load(tmp_path / "bad.json")
    Tokenizer(models.BPE()).save(str(tmp_path / "other.json"))
    with pytest.raises(TokenizerError, match=r"other\.json is no tokenizer of Whisper's: it has no <\|startof"):
        WhisperTokenizer.load(tmp_path / "other.json")
    with pytest.raises(TokenizerError, match="does not belong to the weights"):
        tiny.check_fits(tiny.num_tokens + 1)


@pytest.mark.weights
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_ones_suppress_what_their_publishers_do(name: str) -> None:
    """The list that travels with the weights, made by the published decoder."""
    published = PUBLISHED[name]
    tokenizer = WhisperTokenizer.load(wheel_file(**published.tokenizer))
    tokenizer.check_fits(published.num_tokens)
    assert tokenizer.multilingual == published.multilingual
    assert set(tokenizer.suppressed) == set(published.settings()["suppress_ids"])
    assert list(tokenizer.suppressed_first) == published.settings()["suppress_ids_begin"]
    assert tokenizer.languages["en"] == tokenizer.start + 1
    assert len(tokenizer.languages) == (99 if published.multilingual else 1)
    if published.multilingual:
        assert tokenizer.prompt("de", "translate")[1:3] == (50261, 50358)
