from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.meld import Meld
from tests.data.corpora.clips import write_clips, write_text

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
TIMES = '4,7,"00:20:57,256","00:21:00,049"'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_text(
        tmp_path / "train_sent_emo.csv",
        HEADER,
        f'1,"Oh my God, you lost it.",Phoebe,sadness,negative,0,0,{TIMES}',
        f"2,Broken in the release,Ross,joy,positive,125,3,{TIMES}",
    )
    write_text(tmp_path / "dev_sent_emo.csv", HEADER, f"1,Absent,Ross,joy,positive,110,7,{TIMES}")
    write_text(tmp_path / "test_sent_emo.csv", HEADER, f"1,Hey!,All,joy,positive,0,0,{TIMES}")
    (tmp_path / "dev_splits_complete").mkdir()
    return write_clips(tmp_path, ["train_splits/dia0_utt0.wav", "output_repeated_splits_test/dia0_utt0.wav"])


def test_splits_and_labels(root: Path) -> None:
    test, train = Meld(root, allow_incomplete=True).read()
    assert (train.speaker, train.emotion, train.split) == ("Phoebe", "sadness", "train")
    assert train.transcript == "Oh my God, you lost it."
    assert (test.speaker, test.emotion, test.split, test.sex) == ("All", "happiness", "test", None)
    assert train.key != test.key


def test_clips_that_the_release_itself_lacks_are_not_missed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meld, "num_clips", 2)
    assert len(Meld(root).read()) == 2


def test_videos_without_wav_files_are_refused_saying_how_to_make_them(root: Path) -> None:
    for clip in root.glob("*/*.wav"):
        clip.rename(clip.with_suffix(".mp4"))
    with pytest.raises(CorpusError, match=r"none of its clips is there(.|\n)*WAV file beside each mp4(.|\n)*ffmpeg"):
        Meld(root).read()
