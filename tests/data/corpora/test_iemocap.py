from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.iemocap import Iemocap
from tests.data.corpora.clips import write_clips, write_text

TURNS = {  # turn: the publisher's category and mean ratings
    "Ses01F_impro01_F000": ("neu", "2.5000, 2.5000, 2.5000"),
    "Ses01F_impro01_M001": ("exc", "5.0000, 4.0000, 3.0000"),
    "Ses01F_impro01_M002": ("fru", "1.0000, 4.5000, 0.5000"),
    "Ses01F_impro01_F003": ("xxx", "2.0000, 3.0000, 3.0000"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    session = tmp_path / "Session1"
    write_clips(session / "sentences" / "wav" / "Ses01F_impro01", [f"{turn}.wav" for turn in TURNS])
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn, (emotion, ratings) in TURNS.items():
        lines += [
            f"[6.2901 - 8.2357]\t{turn}\t{emotion}\t[{ratings}]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2;",
            "",
        ]
    write_text(session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt", *lines)
    write_text(session / "dialog" / "EmoEvaluation" / "._Ses01F_impro01.txt", "resource fork")
    write_text(
        session / "dialog" / "transcriptions" / "Ses01F_impro01.txt",
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.",
        "M: mm-hmm",
    )
    return tmp_path


def test_speakers_words_and_ratings(root: Path) -> None:
    first, _, third, fourth = Iemocap(root, allow_incomplete=True).read()
    assert (first.speaker, first.sex, first.emotion) == ("Ses01F", "female", "neutral")
    assert first.transcript == "Excuse me."
    assert first.label_source == "rated"
    assert first.ratings == {"valence": 0.375, "arousal": 0.375, "dominance": 0.375}
    assert (third.speaker, third.sex, third.emotion) == ("Ses01M", "male", "excitement")
    assert third.ratings == {"valence": 1.0, "arousal": 0.75, "dominance": 0.5}
    assert fourth.ratings == {"valence": 0.0, "arousal": 0.875}, "0.5 is no rating on a scale from 1 to 5"


@pytest.mark.parametrize(
    ("emotions", "expected"),
    [
        ("all", ["neutral", None, "excitement", "frustration"]),
        ("four", ["neutral", None, "happiness", None]),
        ("five", ["neutral", None, "happiness", "frustration"]),
    ],
)
def test_sets_of_categories(root: Path, emotions: str, expected: list[str | None]) -> None:
    clips = Iemocap(root, emotions=emotions, allow_incomplete=True).read()  # type: ignore[arg-type]
    assert [clip.emotion for clip in clips] == expected


def test_mapped_labels_leave_out_turns_without_a_category(root: Path) -> None:
    clips = Iemocap(root, emotions="four", label_source="mapped", allow_incomplete=True).read()
    assert [(clip.emotion, clip.label_source) for clip in clips] == [("neutral", "mapped"), ("happiness", "mapped")]


def test_part_of_the_corpus_is_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"4 clips are there, the whole release has 10039(.|\n)*sail\.usc\.edu"):
        Iemocap(root).read()


def test_unknown_category_and_unknown_set_are_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match="it is all, four or five"):
        Iemocap(root, emotions="six")  # type: ignore[arg-type]
    file = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    file.write_text(file.read_text().replace("\tneu\t", "\tglad\t"))
    with pytest.raises(CorpusError, match="unknown label: 'glad'"):
        Iemocap(root, allow_incomplete=True).read()
