"""The speed of recognition beside faster-whisper, which is played by a few lines here."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recognition_peer import FasterWhisper, PeerError, published_folder
from benchmarks.recognition_speed import Setting, latency_measures, packed, read_clips, throughput_measures

STUB = """
import types
class WhisperModel:
    def __init__(self, folder, device, compute_type, cpu_threads):
        if folder == "missing":
            raise RuntimeError("no model in " + folder)
        self.loaded = f"{folder} {compute_type} {cpu_threads}"
    def transcribe(self, clip, **options):
        assert options["beam_size"] == 1 and options["language"] == "en"
        return [types.SimpleNamespace(text=f" {self.loaded}"), types.SimpleNamespace(text=f" {len(clip)}")], None
class BatchedInferencePipeline:
    def __init__(self, model):
        pass
    def transcribe(self, recording, clip_timestamps, batch_size, **options):
        for place in clip_timestamps:
            first, last = (round(place[key] * 16_000) for key in ("start", "end"))
            if recording[first] > 0:  # nothing is heard in a clip of zeros
                yield types.SimpleNamespace(start=place["start"], end=place["end"], text=f" {recording[first]:.0f}")
    transcribe = (lambda generate: lambda *args, **options: (generate(*args, **options), None))(transcribe)
"""
CLIPS = {
    name: np.full(samples, value, dtype=np.float32)
    for name, samples, value in [("a", 8_000, 1), ("b", 32_000, 0), ("c", 4_800, 3), ("d", 12_345, 4)]
}
SETTING = Setting(Path(sys.executable), threads=2, turns=3)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faster_whisper.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("stub")
def test_the_other_side_answers_for_one_clip_and_for_many() -> None:
    with FasterWhisper(SETTING.python, Path("folder"), CLIPS, "int8", 2) as peer:
        text, seconds = peer.one("c")
        assert text == " folder int8 2 4800"
        assert 0 <= seconds < 5
        texts, _ = peer.batch(["d", "b", "a", "c"], batch_size=8)
        assert texts == [" 4", "", " 1", " 3"]
        with pytest.raises(PeerError, match="KeyError: 'e'"):
            peer.one("e")


@pytest.mark.usefixtures("stub")
def test_a_side_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no model in missing"):
        FasterWhisper(SETTING.python, Path("missing"), CLIPS, "int8", 2)
    with pytest.raises(PeerError, match="does not start"):
        FasterWhisper(tmp_path / "python", Path("folder"), CLIPS, "int8", 2)


def test_latency_compares_medians_of_utterances() -> None:
    times = np.ones((2, 3, 5)) * np.array([0.1, 0.5])[:, None, None]
    times[0, 0, :] = 9.0  # one disturbed turn of three changes no median
    ratio, ours, tail, theirs = latency_measures("whisper_base", "int8", times, SETTING)
    assert (ratio.id, ratio.target, ratio.reached) == ("2-whisper_base-int8", ">= 4", True)
    assert ratio.value == pytest.approx(5.0)
    assert ratio.interval == pytest.approx((5.0, 5.0))
    assert (ours.value, tail.value, theirs.value) == pytest.approx((100.0, 100.0, 500.0))
    assert latency_measures("whisper_base", "float32", times, SETTING)[0].target is None


def test_throughput_takes_the_best_batch_size_of_each_side() -> None:
    sides = {
        "ours, 8": [4.0, 4.0], "ours, 16": [2.0, 2.0], "theirs, 8": [5.0, 7.0], "theirs, 16": [9.0, 9.0],
        "packed, 8": [3.0, 3.0], "packed, 16": [2.5, 2.5],
    }  # fmt: skip
    ratio, ours, theirs, pack = throughput_measures("whisper_base", sides, 10, SETTING)
    assert (ratio.value, ratio.interval, ratio.reached) == (3.0, (2.5, 3.5), True)
    assert "batches of 16" in ratio.what
    assert ratio.against is not None
    assert ratio.against.endswith("batch size 8")
    assert (ours.value, theirs.value, pack.value) == pytest.approx((5.0, 10 / 6, 4.0))


def test_clips_are_packed_in_order_into_thirty_seconds() -> None:
    clips = {str(number): np.full(160_000, number, dtype=np.float32) for number in range(5)}
    pieces = list(packed(clips).values())
    assert [piece.size for piece in pieces] == [480_000, 320_000]
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(list(clips.values())))


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no test-other"):
        read_clips(tmp_path, None)


@pytest.mark.weights
def test_published_weights_lie_as_the_other_side_reads_them(tmp_path: Path) -> None:
    folder = published_folder("whisper_tiny_en", tmp_path / "model")
    assert {path.name for path in folder.iterdir()} >= {"model.bin", "config.json", "tokenizer.json", "vocabulary.txt"}
