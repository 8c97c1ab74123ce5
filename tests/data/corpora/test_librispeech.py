import os
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.librispeech import LibriSpeech
from tests.data.corpora.clips import write_clips, write_text


def write_corpus(root: Path) -> Path:
    write_clips(
        root,
        [
            "train-clean-100/19/198/19-198-0000.flac",
            "test-other/367/1/367-1-0001.flac",
            "test-other/367/1/367-1-0000.flac",
        ],
    )
    lines = ("367-1-0000 A LOBSTER", "367-1-0001 WHEN IS A LOBSTER NOT A LOBSTER")
    write_text(root / "test-other/367/1/367-1.trans.txt", *lines)
    speakers = ("; ID |SEX| SUBSET", "19 | F | train-clean-100 | 25 | Kara", "367 | M | test-other | 8 | X")
    write_text(root / "SPEAKERS.TXT", *speakers)
    return root


def test_transcripts_speakers_and_splits_are_those_of_the_folders(tmp_path: Path) -> None:
    first, second, third = LibriSpeech(write_corpus(tmp_path)).read()
    assert (first.speaker, first.sex, first.split, first.language) == ("367", "male", "test", "en")
    assert (first.transcript, second.transcript) == ("A LOBSTER", "WHEN IS A LOBSTER NOT A LOBSTER")
    assert (third.speaker, third.sex, third.split, third.transcript) == ("19", "female", "train", None)


def test_one_part_is_read_alone_or_as_the_folder_itself(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    assert {clip.split for clip in LibriSpeech(tmp_path, part="test-other").read()} == {"test"}
    assert [clip.sex for clip in LibriSpeech(tmp_path / "test-other").read()] == ["male", "male"]
    with pytest.raises(CorpusError, match="dev-clean is missing"):
        LibriSpeech(tmp_path, part="dev-clean").read()


def test_a_transcript_without_audio_is_missed(tmp_path: Path) -> None:
    (write_corpus(tmp_path) / "test-other/367/1/367-1-0001.flac").unlink()
    with pytest.raises(CorpusError, match=r"1 of its 3 labelled clips have no audio.*367-1-0001\.flac"):
        LibriSpeech(tmp_path).read()
    assert len(LibriSpeech(tmp_path, allow_incomplete=True).read()) == 2


def test_a_line_that_is_no_transcript_is_named(tmp_path: Path) -> None:
    write_text(write_corpus(tmp_path) / "test-other/367/1/367-1.trans.txt", "367-1-0000 A LOBSTER", "lobsters")
    with pytest.raises(CorpusError, match=r"367-1\.trans\.txt, line 2: 'lobsters' is not NAME WORDS"):
        LibriSpeech(tmp_path).read()


@pytest.mark.data
@pytest.mark.skipif("PIXEL_MM_DATA" not in os.environ, reason="PIXEL_MM_DATA is not set")
def test_the_real_one() -> None:
    root = Path(os.environ["PIXEL_MM_DATA"], "librispeech")
    spoken, unlabelled = LibriSpeech(root, "test-other").read(), LibriSpeech(root, "train-clean-100").read()
    assert (len(spoken), len({clip.speaker for clip in spoken})) == (50, 5)
    assert all(clip.transcript for clip in spoken)
    assert (len(unlabelled), len({clip.speaker for clip in unlabelled})) == (251, 251)
    assert not any(clip.transcript for clip in unlabelled)
