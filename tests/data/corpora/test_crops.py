from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.crops import Crops
from pixel_mm.data.utterance import Utterance
from tests.data.listed_corpus import ListedCorpus


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crops") / "clip.wav"
    soundfile.write(path, np.zeros(160_000), 16_000)
    return path


def test_crops_lie_in_their_clips_and_are_of_many_lengths(clip: Path) -> None:
    whole = Utterance(path=clip, speaker="a", language="en", transcript="words", split="train")
    crops = Crops(ListedCorpus([whole]), 200).read()
    starts = np.array([crop.start_seconds for crop in crops])
    ends = np.array([crop.end_seconds for crop in crops])
    assert starts.min() >= 0
    assert ends.max() <= 10
    assert (ends - starts).min() >= 0.499
    assert 1.7 < np.median(ends - starts) < 2.9  # the middle of 0.5 and 10 on a logarithm's scale is 2.2
    assert {(crop.speaker, crop.transcript, crop.split) for crop in crops} == {("a", None, "train")}


def test_a_stretch_is_cut_within_itself_and_a_short_one_stays_whole(clip: Path) -> None:
    corpus = ListedCorpus(
        [
            Utterance(path=clip, speaker="a", start_seconds=4.0, end_seconds=6.0),
            Utterance(path=clip, speaker="a", start_seconds=7.0, end_seconds=7.2),
        ]
    )
    crops = Crops(corpus, 20).read()
    assert all(4 <= crop.start_seconds < crop.end_seconds <= 6 for crop in crops[:20])
    assert {(round(c.start_seconds, 6), round(c.end_seconds, 6)) for c in crops[20:]} == {(7.0, 7.2)}


def test_the_seed_decides(clip: Path) -> None:
    corpus = ListedCorpus([Utterance(path=clip, speaker="a")])
    assert Crops(corpus, 3, seed=1).read() == Crops(corpus, 3, seed=1).read()
    assert Crops(corpus, 3, seed=1).read() != Crops(corpus, 3, seed=2).read()


def test_what_cannot_be_cut_is_refused(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(CorpusError, match="crops_per_clip is 0"):
        Crops(ListedCorpus([]), 0)
    with pytest.raises(CorpusError, match="shortest_seconds 40"):
        Crops(ListedCorpus([]), 1, shortest_seconds=40)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match=r"broken\.wav: unreadable"):
        Crops(ListedCorpus([Utterance(path=broken, speaker="a")]), 1).read()
