from collections import Counter
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.cremad import CremaD
from tests.data.corpora.clips import write_clips, write_text

NAMES = ("1001_IEO_NEU_XX", "1001_IEO_HAP_LO", "1002_DFA_ANG_XX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_clips(tmp_path, [f"AudioWAV/{name}.wav" for name in NAMES])
    write_text(tmp_path / "SentenceFilenames.csv", '"Stimulus_Number","Filename"', *(f'1,"{name}"' for name in NAMES))
    write_text(
        tmp_path / "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"',
        '1001,51,"Male","Caucasian","Not Hispanic"',
        '1002,21,"Female","Caucasian","Not Hispanic"',
    )
    write_text(
        tmp_path / "processedResults" / "summaryTable.csv",
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"',
        '"1","1001_IEO_NEU_XX","N","69.1","N","92.22","N","64.78"',
        '"2","1001_IEO_HAP_LO","N","71.67","H","57","H","57.38"',
        '"3","1002_DFA_ANG_XX","A:D","71.67","A","57","A","57.38"',
    )
    return tmp_path


def test_intended_emotions(root: Path) -> None:
    clips = CremaD(root, allow_incomplete=True).read()
    assert [(clip.speaker, clip.sex, clip.emotion) for clip in clips] == [
        ("1001", "male", "happiness"),
        ("1001", "male", "neutral"),
        ("1002", "female", "anger"),
    ]
    assert clips[2].transcript == "Don't forget a jacket."


def test_votes_for_the_voice_and_no_ties(root: Path) -> None:
    clips = CremaD(root, labels="voice_votes", allow_incomplete=True).read()
    assert [(clip.path.stem, clip.emotion) for clip in clips] == [
        ("1001_IEO_HAP_LO", "neutral"),
        ("1001_IEO_NEU_XX", "neutral"),
    ]


def test_git_lfs_pointer_is_not_taken_for_audio(root: Path) -> None:
    (root / "AudioWAV" / f"{NAMES[0]}.wav").write_text("version https://git-lfs.github.com/spec/v1\nsize 1234\n")
    with pytest.raises(CorpusError, match=r"1001_IEO_NEU_XX\.wav is a git-lfs pointer"):
        CremaD(root, allow_incomplete=True).read()


def test_clip_without_audio_is_refused(root: Path) -> None:
    (root / "AudioWAV" / f"{NAMES[0]}.wav").unlink()
    with pytest.raises(CorpusError, match="1 of its 3 labelled clips have no audio"):
        CremaD(root).read()


def test_missing_label_file_is_named(root: Path) -> None:
    (root / "VideoDemographics.csv").unlink()
    with pytest.raises(CorpusError, match=r"VideoDemographics\.csv is missing"):
        CremaD(root).read()


def test_unknown_label_set_is_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match="it is intended or voice_votes"):
        CremaD(root, labels="face_votes")  # type: ignore[arg-type]


@pytest.mark.data
def test_real_label_files(pixel_mm_data: Path) -> None:
    intended = list(CremaD(pixel_mm_data / "cremad").utterances())
    assert len(intended) == 7442
    assert Counter({clip.speaker: clip.sex for clip in intended}.values()) == {"male": 48, "female": 43}
    assert Counter(clip.emotion for clip in intended)["neutral"] == 1087
    assert len({clip.transcript for clip in intended}) == 12
    voted = list(CremaD(pixel_mm_data / "cremad", labels="voice_votes").utterances())
    assert sum(clip.emotion is None for clip in voted) == 644
    same = sum(told.emotion == heard.emotion for told, heard in zip(intended, voted, strict=True))
    assert same == 3099  # of 6,798 clips without a tie: listeners hear the intended emotion in less than half


@pytest.mark.data
def test_real_label_files_without_audio_are_refused(pixel_mm_data: Path) -> None:
    with pytest.raises(CorpusError, match="none of its clips is there"):
        CremaD(pixel_mm_data / "cremad").read()
