"""The synthetic corpus: what is planned, made and refused. A toy voice stands in for the real one where it can."""

import csv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.audio import read_audio
from pixel_mm.data.corpora import synthetic
from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.synthetic import CATEGORIES, SyntheticCorpus, make_clips, plan, write_manifest
from pixel_mm.data.corpora.synthetic_prosody import pyworld
from pixel_mm.data.corpora.synthetic_voice import Voice, load_sentences
from pixel_mm.data.emotions import MAPPED_RATINGS


class ToyVoice:
    """Hums: harmonics 2 to 20 of a falling pitch, as long as the phonemes."""

    def speak(self, phonemes: str) -> np.ndarray:
        phase = 2 * np.pi * np.cumsum(np.linspace(100, 85, 250 * len(phonemes))) / 16_000
        return 0.1 * sum(np.cos(k * phase) / k for k in range(2, 21)) * np.hanning(phase.size)


@pytest.fixture
def toy_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "Voice", ToyVoice)


def test_plan_is_balanced_and_no_sentence_tells_its_category() -> None:
    clips = plan(320, 8, seed=0)
    assert len({clip.name for clip in clips}) == 320
    assert set(Counter((clip.speaker.name, clip.emotion) for clip in clips).values()) == {8}
    assert set(Counter((clip.sentence, clip.emotion) for clip in clips).values()) == {1}
    assert len({(clip.sentence, clip.speaker.name) for clip in clips}) == 64


def test_targets_lie_around_those_of_the_category() -> None:
    for clip in plan(320, 8, seed=0):
        for name in ("valence", "arousal"):
            assert abs(clip.ratings[name] - MAPPED_RATINGS[clip.emotion][name]) <= 0.1201
        assert clip.ratings["dominance"] == MAPPED_RATINGS[clip.emotion]["dominance"]
    assert plan(320, 8, seed=0) == plan(320, 8, seed=0) != plan(320, 8, seed=1)


def test_read_makes_the_corpus_once_and_says_it_is_synthetic(toy_voice: None, tmp_path: Path) -> None:
    root = tmp_path / "made"
    first = SyntheticCorpus(root, clips=10, speakers=2).read()
    assert {utterance.emotion for utterance in first} == set(CATEGORIES)
    assert Counter((utterance.speaker, utterance.sex) for utterance in first) == {
        ("synthetic_f1", "female"): 5,
        ("synthetic_m1", "male"): 5,
    }
    assert {utterance.label_source for utterance in first} == {"mapped"}
    assert all(utterance.transcript in load_sentences() for utterance in first)
    assert all("synthetic" in utterance.path.name for utterance in first)
    assert "No person is heard" in (root / "README.txt").read_text()
    info = soundfile.info(first[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    made_at = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert SyntheticCorpus(root, clips=10, speakers=2).read() == first
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == made_at


def test_corpus_that_is_interrupted_is_not_there(
    toy_voice: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    root = tmp_path / "made"
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_manifest", fail)
        with pytest.raises(KeyboardInterrupt):
            SyntheticCorpus(root, clips=2, speakers=1).read()
    assert {path.name for path in tmp_path.iterdir()} <= {"made.lock"}
    assert len(SyntheticCorpus(root, clips=2, speakers=1).read()) == 2


def test_processes_that_come_together_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted() -> ToyVoice:
        made.append(1)
        return ToyVoice()

    monkeypatch.setattr(synthetic, "Voice", counted)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: SyntheticCorpus(tmp_path / "made", clips=2, speakers=1).read(), range(2)))
    assert len(made) == 1
    assert results[0] == results[1]


def test_corpus_of_another_size_is_refused(toy_voice: None, tmp_path: Path) -> None:
    SyntheticCorpus(tmp_path / "made", clips=2, speakers=1).read()
    with pytest.raises(CorpusError, match=r"'clips': 2(.|\n)*'clips': 3(.|\n)*remove it or name another data\.root"):
        SyntheticCorpus(tmp_path / "made", clips=3, speakers=1).read()


def test_folder_of_somebody_else_is_left_alone(toy_voice: None, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CorpusError, match="holds something else"):
        SyntheticCorpus(tmp_path / "mine", clips=2, speakers=1).read()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_lost_clip_is_told_with_the_remedy(toy_voice: None, tmp_path: Path) -> None:
    corpus = SyntheticCorpus(tmp_path / "made", clips=2, speakers=1)
    corpus.read()[0].path.unlink()
    with pytest.raises(CorpusError, match=r"anger_00\.wav; remove the folder and it is made again"):
        corpus.read()


@pytest.mark.parametrize("size", [{"clips": 0}, {"speakers": 0}, {"speakers": 9}])
def test_impossible_size_is_refused(size: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="at least 1 clip and 1 to 8 speakers"):
        SyntheticCorpus(tmp_path, **size)


@pytest.mark.weights
def test_every_sentence_can_be_spoken() -> None:
    voice = Voice()
    known = set(voice.phonemes)
    assert all(set(phonemes) <= known for phonemes in load_sentences().values())
    with pytest.raises(ValueError, match="'猫'"):
        voice.speak("猫")


@pytest.mark.weights
@pytest.mark.slow
def test_clip_is_the_same_to_the_byte_whatever_is_made_with_it(tmp_path: Path) -> None:
    clips = plan(3, 2, seed=0)
    for folder, chosen in (("first", clips[:2]), ("again", clips[1:])):
        (tmp_path / folder).mkdir()
        make_clips(chosen, tmp_path / folder, seed=0)
    shared = clips[1].name
    assert (tmp_path / "first" / shared).read_bytes() == (tmp_path / "again" / shared).read_bytes()
    assert (tmp_path / "first" / clips[0].name).read_bytes() != (tmp_path / "first" / shared).read_bytes()


@pytest.mark.weights
@pytest.mark.slow
def test_prosody_of_the_clips_follows_their_targets(tmp_path: Path) -> None:
    """Pitch, tilt and tempo go with arousal, the level does so weakly, the pitch's range with both."""
    clips = plan(40, 8, seed=0)
    make_clips(clips, tmp_path, seed=0)
    measures = np.array([measure(tmp_path / clip.name, len(load_sentences()[clip.sentence])) for clip in clips])
    measures[:, 0] -= [12 * np.log2(clip.speaker.pitch_hz) for clip in clips]
    arousal, valence = (np.array([clip.ratings[name] for clip in clips]) for name in ("arousal", "valence"))

    def correlation(column: int, target: np.ndarray) -> float:
        return float(np.corrcoef(measures[:, column], target)[0, 1])

    pitch, spread, tilt, tempo, level = range(5)
    assert correlation(pitch, arousal) > 0.8
    assert correlation(tilt, arousal) > 0.6
    assert correlation(tempo, arousal) > 0.6
    assert correlation(spread, arousal) > 0.3
    assert correlation(spread, valence) > 0.3
    assert correlation(level, arousal) < 0.6
    assert abs(correlation(level, valence)) < 0.35
    assert all(1.4 <= soundfile.info(tmp_path / clip.name).duration <= 4.0 for clip in clips)


def measure(path: Path, num_phonemes: int) -> tuple[float, float, float, float, float]:
    """Mean pitch and its spread in semitones, energy above over below 1 kHz in dB, phonemes a second, level in dB."""
    clip = read_audio(path)
    wave = clip.waveform.astype(np.float64)
    pitch_hz, _ = pyworld.dio(wave, 16_000, f0_floor=60, f0_ceil=500)
    semitones = 12 * np.log2(pitch_hz[pitch_hz > 0])
    power, frequencies = np.abs(np.fft.rfft(wave)) ** 2, np.fft.rfftfreq(wave.size, 1 / 16_000)
    high, low = (frequencies > 1000) & (frequencies < 5000), (frequencies > 50) & (frequencies < 1000)
    tilt_db = 10 * np.log10(power[high].sum() / power[low].sum())
    return semitones.mean(), semitones.std(), tilt_db, num_phonemes / wave.size * 16_000, clip.level_dbfs


def test_manifest_has_the_targets(tmp_path: Path) -> None:
    clips = plan(5, 1, seed=0)
    write_manifest(clips, tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(row[name]) for name in clips[0].ratings} for row in rows] == [clip.ratings for clip in clips]
