from pathlib import Path
from typing import Any

import datasets
import pytest
import soundfile

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.hub import Hub
from tests.data.corpora.clips import write_clip

COLUMNS = {"audio": "sound", "speaker": "who", "emotion": "label", "sex": "gender", "arousal": "activation"}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A data set in the hub's layout: Parquet files with the audio inside."""
    clip = write_clip(tmp_path / "source.wav").read_bytes()
    columns = {
        "sound": [{"bytes": clip, "path": f"{name}.wav"} for name in "ab"],
        "who": [7, 8],
        "gender": ["female", None],
        "label": [1, 0],
        "activation": [1.0, 7.0],
    }
    features = datasets.Features(
        {
            "sound": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "who": datasets.Value("int64"),
            "gender": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["angry", "happy"]),
            "activation": datasets.Value("float64"),
        }
    )
    table = datasets.Dataset.from_dict(columns, features=features).cast_column("sound", datasets.Audio(decode=False))
    folder = tmp_path / "published"
    (folder / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def _hub(root: Path, dataset: Path, **options: Any) -> Hub:
    options = {"columns": COLUMNS, "emotions": {"angry": "anger", "happy": "happiness"}} | options
    return Hub(root, str(dataset), **options)


def test_rows_become_files_and_utterances(tmp_path: Path, published: Path) -> None:
    splits = {"train": "train", "validation": "test"}
    clips = _hub(tmp_path / "kept", published, splits=splits, label_source="rated", rating_range=(1, 7)).read()
    assert [(clip.speaker, clip.sex, clip.emotion, clip.split) for clip in clips] == [
        ("7", "female", "happiness", "train"),
        ("8", None, "anger", "train"),
        ("7", "female", "happiness", "test"),
        ("8", None, "anger", "test"),
    ]
    assert [clip.ratings for clip in clips[:2]] == [{"arousal": 0.0}, {"arousal": 1.0}]
    assert clips[0].path == tmp_path / "kept" / "audio" / "train" / "0000000.wav"
    assert soundfile.info(clips[0].path).frames == 1600


def test_labels_are_mapped_unless_they_were_rated(tmp_path: Path, published: Path) -> None:
    clips = _hub(tmp_path / "kept", published).read()
    assert [(clip.emotion, clip.label_source) for clip in clips] == [("happiness", "mapped"), ("anger", "mapped")]


def test_audio_is_written_once_and_again_when_it_was_cut_short(tmp_path: Path, published: Path) -> None:
    hub = _hub(tmp_path / "kept", published)
    first, second = (clip.path for clip in hub.read())
    whole, written = second.read_bytes(), first.stat().st_mtime_ns
    second.write_bytes(whole[:100])
    hub.read()
    assert first.stat().st_mtime_ns == written
    assert second.read_bytes() == whole


def test_audio_that_the_table_only_points_at_stays_there(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "elsewhere" / "a.wav")
    table = datasets.Dataset.from_dict({"audio": [{"bytes": None, "path": str(clip)}], "who": ["s1"]})
    (tmp_path / "published").mkdir()
    table.to_parquet(tmp_path / "published" / "train.parquet")
    clips = Hub(tmp_path / "kept", str(tmp_path / "published"), {"audio": "audio", "speaker": "who"}).read()
    assert [clip.path for clip in clips] == [clip]
    assert not (tmp_path / "kept" / "audio").exists()


def test_data_set_that_is_not_in_parquet_is_refused_with_advice(tmp_path: Path) -> None:
    write_clip(tmp_path / "folder" / "train" / "a.wav")
    (tmp_path / "folder" / "train" / "metadata.csv").write_text("file_name,who\na.wav,s1\n")
    with pytest.raises(CorpusError, match=r"could not be loaded: .*revision: refs/convert/parquet"):
        Hub(tmp_path / "kept", str(tmp_path / "folder"), {"audio": "audio", "speaker": "who"}).read()


def test_wrong_column_names_are_refused(tmp_path: Path, published: Path) -> None:
    with pytest.raises(CorpusError, match="columns lacks 'speaker'"):
        _hub(tmp_path, published, columns={"audio": "sound"})
    with pytest.raises(CorpusError, match=r"columns\.loudness is not one of audio, speaker"):
        _hub(tmp_path, published, columns=COLUMNS | {"loudness": "db"})
    with pytest.raises(CorpusError, match=r"has no column 'text' \(columns\.transcript\); it has sound, who"):
        _hub(tmp_path, published, columns=COLUMNS | {"transcript": "text"}).read()


def test_error_names_split_and_row(tmp_path: Path, published: Path) -> None:
    with pytest.raises(CorpusError, match=r"split train, row 1: .*emotion 'angry' is not one of"):
        _hub(tmp_path, published, emotions={"happy": "happiness"}).read()
