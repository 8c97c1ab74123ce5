import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pixel_mm.data.corpora.cmu_mosei import CmuMosei
from pixel_mm.data.corpora.corpus import CorpusError
from tests.data.corpora.clips import write_clip, write_text


def write_labels(root: Path, features: np.ndarray, intervals: np.ndarray, group: str = "All Labels") -> None:
    with h5py.File(root / "CMU_MOSEI_Labels.csd", "w") as file:
        video = file.create_group(f"{group}/data/abc")
        video["features"], video["intervals"] = features, intervals


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_clip(tmp_path / "Audio/Full/WAV_16000/abc.wav")
    write_text(
        tmp_path / "Transcript/Segmented/Combined/abc.txt",
        "abc___0___0.0___2.0___I loved  it, really.",
        "abc___1___2.0___5.0___It has ___ a blank.",
    )
    features = [[3, 2, 0, 0, 1, 0, 0], [-1.5, 0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0]]
    write_labels(tmp_path, np.array(features), np.array([[2.1, 5.0], [0.1, 1.9], [8.0, 9.0]]))
    return tmp_path


def test_sentences_have_words_sentiment_and_the_strongest_emotion(root: Path) -> None:
    first, second, third = CmuMosei(root).read()
    assert (first.transcript, first.ratings, first.emotion) == ("I loved it, really.", {"valence": 0.25}, "neutral")
    assert (second.transcript, second.ratings, second.emotion) == ("It has ___ a blank.", {"valence": 1.0}, "happiness")
    assert (third.transcript, third.emotion) == (None, None)
    assert (second.start_seconds, second.end_seconds, second.speaker) == (2.1, 5.0, "abc")
    assert {row.label_source for row in (first, second, third)} == {"rated"}


def test_a_missing_package_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CorpusError, match=r"pixel_mm\[cmu-mosei\]"):
        CmuMosei(root).read()


def test_labels_of_another_layout_are_refused(root: Path) -> None:
    write_labels(root, np.zeros((2, 6)), np.zeros((2, 2)))
    with pytest.raises(CorpusError, match=r"abc has features \(2, 6\)"):
        CmuMosei(root).read()
    write_labels(root, np.zeros((2, 7)), np.zeros((2, 2)), group="Labels")
    with pytest.raises(CorpusError, match="has no 'All Labels/data', but Labels"):
        CmuMosei(root).read()


def test_a_broken_transcript_is_refused(root: Path) -> None:
    write_text(root / "Transcript/Segmented/Combined/abc.txt", "abc___0___0.0")
    with pytest.raises(CorpusError, match=r"abc\.txt, line 1"):
        CmuMosei(root).read()
