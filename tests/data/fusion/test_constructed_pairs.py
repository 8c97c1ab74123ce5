import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.emodb import EmoDB
from pixel_mm.data.fusion.constructed_pairs import ConstructedPairs, stretched, target_state
from pixel_mm.data.fusion.emobank import EmoBank
from pixel_mm.data.fusion.row import FusionRow, check_disjoint
from pixel_mm.data.splits import SplitError
from tests.data.corpora.clips import write_text
from tests.data.fusion.voices import VOICES, Given

SENTENCES = [
    FusionRow(f"{split}{number}", "book", text=f"{split} {number}", scores=scores, label_source="rated", split=split)
    for split in ("train", "validation", "test")
    for number in range(9)
    for scores in [{"valence": 0.3 + 0.05 * number}]
]


def test_the_state_takes_valence_from_both_and_arousal_from_the_voice() -> None:
    assert stretched(0.6) == pytest.approx(0.75)
    assert (stretched(0.05), stretched(0.9)) == (0.0, 1.0)
    state = target_state({"valence": 0.6, "arousal": 0.9}, {"valence": 0.9, "arousal": 0.2, "dominance": 0.4})
    assert state == pytest.approx({"valence": 0.825, "arousal": 0.2, "dominance": 0.4})


@pytest.mark.parametrize(
    ("words", "voice", "valence"),
    [(0.7, 0.2, 0.2), (0.3, 0.8, 0.8), (0.55, 0.25, 0.4375), (0.7, 0.55, 0.775)],
    ids=["fine words in distress", "dark words, happily", "on other sides but near", "on one side and far"],
)
def test_where_words_and_voice_disagree_strongly_the_voice_decides(words: float, voice: float, valence: float) -> None:
    assert target_state({"valence": words}, {"valence": voice, "arousal": 0.5})["valence"] == pytest.approx(valence)


def test_pairs_are_disjoint_by_speaker_and_sentence_and_come_again_alike() -> None:
    rows = ConstructedPairs(Given(SENTENCES), Given(VOICES)).read()
    check_disjoint(rows)
    assert len(rows) == 3 * len(VOICES)
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert all(row.text.startswith(row.split) for row in rows)
    assert {row.label_source for row in rows} == {"constructed"}
    assert rows == ConstructedPairs(Given(SENTENCES), Given(VOICES)).read()
    assert rows != ConstructedPairs(Given(SENTENCES), Given(VOICES), seed=1).read()


def test_every_voice_meets_words_of_all_three_kinds() -> None:
    valences = {row.key: row.scores["valence"] for row in SENTENCES}
    rows = ConstructedPairs(Given(SENTENCES), Given(VOICES)).read()
    for clip in VOICES:
        met = sorted(stretched(valences[row.key.split("+")[1]]) for row in rows if row.clip == clip)
        assert met[0] < 0.4 <= met[1] < 0.6 <= met[2]


def test_voices_without_ratings_are_left_out_and_mixed_ones_refused() -> None:
    silent = replace(VOICES[0], path=Path("v/other.wav"), emotion="other", ratings=None, label_source=None)
    assert len(ConstructedPairs(Given(SENTENCES), Given([*VOICES, silent])).read()) == 3 * len(VOICES)
    rated = replace(VOICES[0], path=Path("v/rated.wav"), label_source="rated")
    with pytest.raises(SplitError, match="given has mapped and rated: set its label_source"):
        ConstructedPairs(Given(SENTENCES), Given([*VOICES, rated])).read()
    with pytest.raises(SplitError, match="given has none"):
        ConstructedPairs(Given(SENTENCES), Given([silent])).read()


def test_a_sentence_in_two_parts_is_refused() -> None:
    shared = [replace(row, text="The same.", key=f"x{row.key}") for row in SENTENCES]
    with pytest.raises(SplitError, match="sentences are in several parts"):
        ConstructedPairs(Given(shared), Given(VOICES)).read()


def test_parts_without_sentences_of_a_kind_are_named() -> None:
    with pytest.raises(SplitError, match="no positive sentence is in the train part"):
        ConstructedPairs(Given(SENTENCES[:5]), Given(VOICES)).read()
    with pytest.raises(ValueError, match="sentences_per_clip is 0"):
        ConstructedPairs(Given(SENTENCES), Given(VOICES), sentences_per_clip=0)


def test_emobank_gives_every_text_once_and_to_one_part(tmp_path: Path) -> None:
    lines = ('b_1,train,1.0,3.0,5.0,"Well, yes."', "a_2,test,3.0,3.0,3.0,well - YES", "a_1,dev,5,3,3,No")
    write_text(tmp_path / "corpus/emobank.csv", "id,split,V,A,D,text", *lines)
    no, yes = EmoBank(tmp_path).read()
    assert (no.key, no.split, no.scores) == ("a_1", "validation", {"valence": 1.0, "arousal": 0.5, "dominance": 0.5})
    assert (yes.key, yes.split, yes.speaker, yes.label_source) == ("a_2", "test", "a", "rated")
    assert [row.text for row in EmoBank(tmp_path, min_words=2).read()] == ["well - YES"]


def test_a_broken_emobank_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus/emobank\.csv is missing(.|\n)*CC BY-SA"):
        EmoBank(tmp_path).read()
    write_text(tmp_path / "emobank.csv", "id,split,V,A,D,text", "a_1,train,7,3,3,Too glad")
    with pytest.raises(CorpusError, match=r"emobank\.csv, line 2: .*'valence' is 1.5"):
        EmoBank(tmp_path).read()
    with pytest.raises(ValueError, match="min_words is 9 and max_words 3"):
        EmoBank(tmp_path, min_words=9, max_words=3)


@pytest.mark.data
@pytest.mark.skipif("PIXEL_MM_DATA" not in os.environ, reason="PIXEL_MM_DATA is not set")
def test_real_sentences_and_voices() -> None:
    root = Path(os.environ["PIXEL_MM_DATA"])
    sentences = EmoBank(root / "emobank", min_words=4, max_words=30)
    assert (len(EmoBank(root / "emobank").read()), len(sentences.read())) == (9838, 8053)
    rows = ConstructedPairs(sentences, EmoDB(root / "emodb")).read()
    assert len(rows) == 3 * 535
    counts = Counter(row.group for row in rows)
    assert 0.05 < counts["voice decides"] / len(rows) < 0.15
