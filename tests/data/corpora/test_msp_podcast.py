from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.msp_podcast import MspPodcast
from tests.data.corpora.clips import write_clips, write_text

ROWS = (
    "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.8,30,Male,Test1",
    "MSP-PODCAST_0002_0001.wav,U,7.0,1.0,4.0,31,Female,Train",
    "MSP-PODCAST_0002_0002.wav,X,4.0,4.0,4.0,31,Female,Development",
    "MSP-PODCAST_0003_0001.wav,A,4.0,4.0,4.0,Unknown,Unknown,Train",
    "MSP-PODCAST_0004_0001.wav,H,4.0,4.0,4.0,30,Male,Test2",
)


@pytest.fixture(params=["labels_consensus.csv", "labels_concensus.csv"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write_clips(tmp_path / "Audios", [row.split(",")[0] for row in ROWS])
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    write_text(tmp_path / "Labels" / request.param, header, *ROWS)
    write_text(tmp_path / "Transcripts" / "MSP-PODCAST_0001_0008.txt", "so it goes")
    return tmp_path


def test_labels_speakers_and_partitions(root: Path) -> None:
    test, train, validation = MspPodcast(root, transcripts=True).read()
    assert (test.speaker, test.sex, test.emotion, test.split) == ("30", "male", "neutral", "test")
    assert test.ratings == pytest.approx({"valence": 0.5, "arousal": 0.2, "dominance": 0.3})
    assert (test.transcript, train.transcript) == ("so it goes", None)
    assert (train.emotion, train.split) == ("surprise", "train")
    assert train.ratings == {"valence": 0.0, "arousal": 1.0, "dominance": 0.5}
    assert (validation.emotion, validation.split, validation.label_source) == (None, "validation", "rated")


def test_mapped_labels_need_a_category(root: Path) -> None:
    assert [clip.emotion for clip in MspPodcast(root, label_source="mapped").read()] == ["neutral", "surprise"]


def test_unknown_speakers_are_kept_by_recording_on_request(root: Path) -> None:
    clips = MspPodcast(root, partitions=["Train"], keep_unknown_speakers=True).read()
    assert [clip.speaker for clip in clips] == ["31", "recording-0003"]


def test_wrong_partition_and_missing_audio_are_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match="partition 'Test4' is not one of Train, Development"):
        MspPodcast(root, partitions=["Test4"])
    (root / "Audios" / "MSP-PODCAST_0001_0008.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of its 3 labelled clips have no audio \(.*0001_0008"):
        MspPodcast(root).read()


def test_rating_off_the_scale_is_refused(root: Path) -> None:
    for file in (root / "Labels").iterdir():
        file.write_text(file.read_text().replace("N,2.2", "N,8.2"))
    with pytest.raises(CorpusError, match=r"0001_0008\.wav: rating 'arousal' is 1\.2"):
        MspPodcast(root).read()
