"""CTC recognisers in the wrapper: a random tiny one, exported, and a graph that hears how high tones sound."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from transformers import Wav2Vec2Config

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.ctc_vocabulary import CtcVocabulary, VocabularyError
from pixel_mm.exporters.ctc import publish_ctc
from pixel_mm.inference.confidence import ConfidenceMap
from pixel_mm.inference.ctc_engine import CtcEngine, load_exported, read_frames
from pixel_mm.inference.recognition_cli import main
from pixel_mm.inference.recognition_engines import load_engine
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.voice_activity import VoiceActivity
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, Provenance
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.models.speech_recognition.ctc_writing import CtcWriting
from pixel_mm.models.speech_recognition.decoding import DecodingOptions
from pixel_mm.runs import RunFolder
from pixel_mm.train import begin
from tests.models.tiny_networks import wav2vec2

RATE = 16_000
ORIGIN = Provenance("transcripts", "none", False, "unknown", "tiny", "random weights")
LETTERS = "abcdefghijklmnopqrstuvwxyz "
GREEDY = DecodingOptions()


class Everybody:
    """A voice activity network that always hears somebody."""

    def run(self, names: list[str], given: dict[str, Any]) -> list[np.ndarray]:
        return [np.ones(len(given["input"]), np.float32), given["h"], given["c"]]


class Tones:
    """A graph that writes the number of each second, which is how high it sounds, at the second's first frames."""

    vocabulary = CtcVocabulary("0123456789 ")

    def run(self, names: list[str], given: dict[str, Any]) -> list[np.ndarray]:
        (waveform,) = given["waveform"]
        frames = waveform[: waveform.size // 320 * 320].reshape(-1, 320)
        crossings = np.round([np.count_nonzero(np.diff(np.signbit(frame))) / 4 for frame in frames]).astype(int)
        best = np.zeros(len(frames), dtype=int)
        for start in np.flatnonzero(np.diff(crossings, prepend=-1)):
            if start + 5 < len(frames) and (crossings[start : start + 5] == crossings[start]).all():
                tens, ones = divmod(int(crossings[start]), 10)
                best[start : start + 5] = (1 + tens, 0, 1 + ones, 0, 11)
        scores = np.full((1, len(best), 12), np.log(0.1 / 11))
        scores[0, np.arange(len(best)), best] = np.log(0.9)
        return [scores.astype(np.float32)]


def tones(first: int, last: int) -> np.ndarray:
    """A second for each number."""
    time = np.arange(RATE) / RATE
    waves = [np.sin(2 * np.pi * 100 * number * time + 0.1) for number in range(first, last)]
    return np.concatenate(waves).astype(np.float32)


def numbers(first: int, last: int) -> str:
    return " ".join(f"{number:02d}" for number in range(first, last))


def hears_tones(**options: object) -> SpeechRecognizer:
    engine = CtcEngine(Tones(), Tones.vocabulary, "en")
    return SpeechRecognizer(engine, VoiceActivity(Everybody()), **options)  # type: ignore[arg-type]


def scores_of(*frames: tuple[int, float]) -> np.ndarray:
    """Frames of four classes, by the best one and its probability."""
    found = np.array([[(1 - sure) / 3] * 4 for _, sure in frames])
    found[np.arange(len(frames)), [best for best, _ in frames]] = [sure for _, sure in frames]
    return np.log(found).astype(np.float32)


def test_frames_are_read_as_characters_with_their_times_and_doubts() -> None:
    engine = CtcEngine(None, CtcVocabulary("ab "), "de")
    frames = ((3, 0.9), (1, 0.6), (1, 0.8), (0, 0.9), (1, 0.7), (3, 0.9), (0, 0.9), (3, 0.9), (2, 0.9), (3, 0.9))
    found = read_frames(scores_of(*frames), engine.vocabulary, 1.0, "de")
    assert engine.text(found) == "aa b"
    assert found.times == pytest.approx(np.array([(0.1, 0.3), (0.4, 0.5), (0.5, 0.6), (0.8, 0.9)]))
    np.testing.assert_allclose(np.exp(found.log_probabilities), [0.8, 0.7, 0.9, 0.9], rtol=1e-6)
    assert found.language == "de"
    first, second = engine.words(np.zeros(RATE, np.float32), found, GREEDY)
    assert (first.text, first.start_seconds, first.end_seconds) == ("aa", pytest.approx(0.1), pytest.approx(0.5))
    assert first.confidence == pytest.approx(np.sqrt(0.8 * 0.7))
    assert (second.text, second.confidence) == ("b", pytest.approx(0.9))
    assert engine.confidences(found) is None


def test_nothing_heard_is_an_empty_transcript_of_known_probability() -> None:
    engine = CtcEngine(None, CtcVocabulary("ab "), "en")
    for frames in (((0, 0.9), (0, 0.8)), ((3, 0.7), (0, 0.9), (3, 0.7))):
        found = read_frames(scores_of(*frames), engine.vocabulary, 0.1, "en")
        assert (engine.text(found), engine.words(np.zeros(RATE, np.float32), found, GREEDY)) == ("", [])
        assert np.isfinite(found.mean_log_probability)
    assert read_frames(scores_of((0, 0.9), (0, 0.8)), engine.vocabulary, 0.1, "en").no_speech_probability == (
        pytest.approx(0.72)
    )


def test_characters_less_probable_than_all_else_are_left_out() -> None:
    engine = CtcEngine(None, CtcVocabulary("ab "), "en")
    for sure, doubtful in ((0.45, True), (0.55, False)):
        found = read_frames(scores_of((1, sure), (0, 0.9), (2, sure)), engine.vocabulary, 0.1, "en")
        assert engine.is_doubtful(found) is doubtful


def test_speech_over_the_seams_of_windows_is_written_once_and_timed() -> None:
    found = hears_tones(words=True)(tones(10, 80), RATE)
    assert found.text == numbers(10, 80)
    assert len(found.segments) == 3
    assert [word.text for word in found.words] == found.text.split()
    for second, word in enumerate(found.words):
        # A window may begin within a second, which sounds there too.
        assert second - 0.01 <= word.start_seconds < word.end_seconds <= second + 1.01
    assert (found.calibrated, found.language) == (False, "en")
    assert found.confidence == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"language": "xx"}, "language 'xx' is none that this model knows; it knows en"),
        ({"task": "translate"}, "task 'translate' is not one of a CTC recogniser's"),
        ({"beam_size": 4}, "beam_size is 4, but a CTC recogniser is read greedily"),
        ({"hot_words": ("Pixel",)}, "hot_words are given, but a CTC recogniser"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        hears_tones(options=DecodingOptions(**options))
    with pytest.raises(ValueError, match="clip 1 has 399 samples"):
        hears_tones().engine.transcribe([tones(2, 3), tones(2, 3)[:399]], GREEDY)


def network() -> CtcRecognizer:
    """Random, but as sure as a trained one, with all letters and words of some letters in noise."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = CtcRecognizer(wav2vec2(Wav2Vec2Config, per_frame=True), LETTERS).eval()
        heard = torch.from_numpy(noise(10.0)[0])[None]
        with torch.no_grad():
            states = made.encoder.all_states(heard, torch.tensor([heard.shape[1]])).states[-1][0]
            spread = (states - states.mean(0)).square().mean().sqrt()
            made.head.weight.copy_(1.5 * torch.randn(made.head.weight.shape) / spread)
            made.head.bias.copy_(-made.head.weight @ states.mean(0))
            made.head.bias[-1] += 6  # spaces make words
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_ctc(network(), ORIGIN, tmp_path_factory.mktemp("ctc") / "model").path


def noise(*seconds: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(scale=0.05, size=round(each * RATE)).astype(np.float32) for each in seconds]


@pytest.mark.slow
def test_an_exported_folder_writes_what_the_network_writes_alone_and_in_a_batch(exported: Path) -> None:
    engine = load_engine(exported, None, "float32", 1)
    assert isinstance(engine, CtcEngine)
    clips = noise(2.0, 0.5, 3.3)
    together = engine.transcribe(clips, GREEDY)
    assert [engine.text(each) for each in together] == CtcWriting().transcribe(network(), clips)
    assert together == [engine.transcribe([clip], GREEDY)[0] for clip in clips]
    assert len(engine.text(together[0])) > 10
    assert not engine.is_doubtful(together[0])


@pytest.mark.slow
def test_the_command_writes_all_formats_of_long_audio(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(VoiceActivity, "load", lambda: VoiceActivity(Everybody()))  # it would hear nobody in noise
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(65.0)[0], RATE)

    def written(*options: str) -> str:
        assert main([str(exported), str(path), *options]) == 0
        return str(capsys.readouterr().out)

    text = written().strip()
    (told,) = json.loads(written("--json", "--words"))["files"]
    assert told["text"] == text
    timed = [word for segment in told["segments"] for word in segment["words"]]
    assert [word["text"] for word in timed] == text.split()
    starts = [word["start_seconds"] for word in timed]
    assert all(0 <= start <= 65 for start in starts)
    for segment in told["segments"]:
        inside = [word["start_seconds"] for word in segment["words"]]
        assert inside == sorted(inside)
    assert len(told["segments"]) > 1
    assert len(timed) > 100
    assert written("--srt").startswith("1\n00:00:00,")
    assert written("--vtt").startswith("WEBVTT\n\n00:00:00.")
    assert main([str(exported), str(path), "--language", "auto", "--beam-size", "2"]) == 2
    assert "beam_size is 2" in capsys.readouterr().err
    assert main([str(exported), str(path), "--precision", "int8"]) == 2
    assert "float32 alone" in capsys.readouterr().err


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> ModelFolder:
    shutil.copytree(exported, tmp_path / "copy")
    return ModelFolder(tmp_path / "copy")


@pytest.mark.slow
def test_a_vocabulary_that_is_missing_changed_or_of_another_graph_is_refused(copied: ModelFolder) -> None:
    vocabulary, spec = copied.path / "vocabulary.json", ModelSpec.read(copied.spec)
    CtcVocabulary(LETTERS[::-1]).save(vocabulary)
    with pytest.raises(ModelFolderError, match=r"vocabulary\.json is not the file that was exported"):
        load_exported(copied.path, "float32", 1)
    copied.seal(spec)
    with pytest.raises(VocabularyError, match=r"vocabulary\.json does not belong to the graph"):
        load_exported(copied.path, "float32", 1)
    vocabulary.unlink()
    with pytest.raises(ModelFolderError, match=r"vocabulary\.json is missing"):
        load_exported(copied.path, "float32", 1)
    copied.seal(spec)
    with pytest.raises(ModelFolderError, match=r"lists no file 'vocabulary\.json'"):
        load_exported(copied.path, "float32", 1)


@pytest.mark.slow
def test_folders_of_unknown_language_and_other_tasks_are_refused(copied: ModelFolder) -> None:
    spec = ModelSpec.read(copied.spec)
    copied.seal(replace(spec, languages=()))
    with pytest.raises(ModelFolderError, match="does not name the language"):
        load_engine(copied.path, None, "float32", 1)
    copied.seal(replace(spec, task="audio_emotion_recognition"))
    with pytest.raises(ModelFolderError, match="does audio_emotion_recognition, not speech_recognition or ctc_speech"):
        load_engine(copied.path, None, "float32", 1)


@pytest.fixture
def spoken(exported: Path, tmp_path: Path) -> Path:
    """Noise with, for transcripts, every second word that the network writes of it."""
    lines = ["path,speaker,transcript"]
    for number, clip in enumerate(noise(*[1.5] * 8)):
        soundfile.write(tmp_path / f"{number}.wav", clip, RATE)
        recognizer = SpeechRecognizer(load_engine(exported, None, "float32", 1), VoiceActivity(Everybody()))
        words = recognizer.file(tmp_path / f"{number}.wav").text.split()
        lines.append(f"{number}.wav,s{number % 4},{' '.join(words[::2])} {'and so on' if number % 2 else ''}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    return tmp_path / "manifest.csv"


@pytest.fixture
def evaluated(copied: ModelFolder, spoken: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A suite run on the folder by the command's own functions; gives its metrics."""
    monkeypatch.setattr(VoiceActivity, "load", lambda: VoiceActivity(Everybody()))

    def run(suite: str, *options: str) -> dict[str, Any]:
        folder = spoken.parent / suite
        given = [f"suite={suite}", f"model_folder={copied.path}", "data=manifest", f"data.root={spoken}",
                 f"paths.run={folder}", "logger=none", *options]  # fmt: skip
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("evaluate", given)
        begin(RunFolder(folder), cfg, [])
        instantiate(cfg.suite.check)(cfg)  # how good it finds a random network is not the question
        metrics: dict[str, Any] = json.loads((folder / "report" / "metrics.json").read_text())
        return metrics

    return run


@pytest.mark.slow
def test_it_is_evaluated_as_any_recogniser_is(evaluated: Callable[..., dict[str, Any]]) -> None:
    metrics = evaluated("speech_recognition")
    assert 0 < metrics["scores"]["word"]["rate"] < 1
    assert metrics["batch"] == {"size": 8, "num_clips": 8, "different": []}
    assert metrics["components"] is None
    with pytest.raises(ValueError, match="beam_size is 3"):
        evaluated("speech_recognition", "suite.decoding.beam_size=3")


@pytest.mark.slow
def test_its_confidence_is_calibrated_into_the_folder(
    evaluated: Callable[..., dict[str, Any]], copied: ModelFolder, spoken: Path
) -> None:
    metrics = evaluated("word_confidence", "suite.fit=true")
    assert 0 < metrics["num_right"] < metrics["num_words"]
    assert isinstance(ConfidenceMap.read(copied.path / "confidence.yaml"), ConfidenceMap)
    found = SpeechRecognizer.load(copied.path, words=True).file(spoken.parent / "0.wav")
    assert found.calibrated
    assert all(0 < word.confidence < 1 for word in found.words)
    with pytest.raises(ValueError, match="beam_size is 3"):
        evaluated("word_confidence", "suite.decoding.beam_size=3")
