from pathlib import Path

import pytest

from pixel_mm.data.corpora.common_voice import CommonVoice
from pixel_mm.data.corpora.corpus import CorpusError
from tests.data.corpora.clips import write_clips, write_text

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment"


def row(speaker: str, name: str, sentence: str, sex: str = "", locale: str = "en") -> str:
    return f"{speaker}\t{name}\t{sentence}\t2\t0\t\t{sex}\t\t{locale}\t"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_text(tmp_path / "train.tsv", HEADER, row("anna", "a.mp3", "It's late.", "female_feminine"))
    write_text(tmp_path / "dev.tsv", HEADER, row("ben", "b.mp3", '"Why?" he asked', "male", "zh-TW"))
    write_text(tmp_path / "test.tsv", HEADER, row("cleo", "c.mp3", '"""Go"" is a game."', "non-binary"))
    validated = (row("anna", "a.mp3", "It's late."), row("dan", "d.mp3", '"Go" or "stop"'))
    write_text(tmp_path / "validated.tsv", HEADER, *validated)
    return write_clips(tmp_path, [f"clips/{letter}.mp3" for letter in "abcd"])


def test_parts_speakers_and_sexes(root: Path) -> None:
    clips = CommonVoice(root).read()
    assert [(clip.speaker, clip.split) for clip in clips] == [
        ("anna", "train"),
        ("ben", "validation"),
        ("cleo", "test"),
    ]
    assert [clip.sex for clip in clips] == ["female", "male", None]
    assert [clip.language for clip in clips] == ["en", "zh", "en"]


def test_a_quotation_mark_does_not_swallow_the_next_rows(root: Path) -> None:
    rows = (row("anna", "a.mp3", '"Halt, she said'), row("dan", "d.mp3", "Next."))
    write_text(root / "train.tsv", HEADER, *rows)
    clips = CommonVoice(root, parts=["train"]).read()
    assert [clip.transcript for clip in clips] == ['"Halt, she said', "Next."]


def test_marks_around_a_field_are_no_part_of_the_sentence(root: Path) -> None:
    assert [clip.transcript for clip in CommonVoice(root).read()] == [
        "It's late.",
        '"Why?" he asked',
        '"Go" is a game.',
    ]


def test_all_validated_clips_have_no_split_and_are_read_alone(root: Path) -> None:
    clips = CommonVoice(root, parts=["validated"]).read()
    assert [(clip.speaker, clip.split, clip.transcript) for clip in clips] == [
        ("anna", None, "It's late."),
        ("dan", None, '"Go" or "stop"'),
    ]
    with pytest.raises(CorpusError, match="'validated' holds the clips of the others"):
        CommonVoice(root, parts=["train", "validated"])


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(CorpusError, match="part 'other' is not one of train, dev, test, validated"):
        CommonVoice(root, parts=["other"])
    (root / "clips" / "b.mp3").unlink()
    with pytest.raises(CorpusError, match=r"1 of its 3 labelled clips have no audio.*b\.mp3"):
        CommonVoice(root).read()
    (root / "dev.tsv").unlink()
    with pytest.raises(CorpusError, match=r"dev\.tsv is missing"):
        CommonVoice(root).read()
