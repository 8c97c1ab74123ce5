import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile

from pixel_mm.audio import AudioError
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer, EmotionEstimate
from pixel_mm.inference.emotion_cli import main
from pixel_mm.model_folder import ModelFolder, ModelFolderError

RATE = 16_000


def speech(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = generator.uniform(100, 250)
    return (0.1 * sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def recognizer(tiny_model_folder: Path) -> AudioEmotionRecognizer:
    return AudioEmotionRecognizer.load(tiny_model_folder, num_threads=1)


def same(one: EmotionEstimate, other: EmotionEstimate, atol: float = 1e-4) -> None:
    for name, value in {**one.scores, **one.emotions}.items():
        assert value == pytest.approx({**other.scores, **other.emotions}[name], abs=atol)


def test_scores_come_by_name(recognizer: AudioEmotionRecognizer) -> None:
    estimate = recognizer(speech(2), RATE)
    assert set(estimate.scores) == {"valence", "arousal", "dominance"}
    assert all(0 <= score <= 1 for score in estimate.scores.values())
    assert sum(estimate.emotions.values()) == pytest.approx(1, abs=1e-5)
    assert estimate.emotion in ("anger", "calm", "happiness", "sadness")
    assert (estimate.start_seconds, estimate.end_seconds) == (0.0, 2.0)


def test_names_hold_whatever_the_order_of_the_outputs(recognizer: AudioEmotionRecognizer) -> None:
    spec = replace(recognizer.spec, outputs=tuple(reversed(recognizer.spec.outputs)))
    swapped = AudioEmotionRecognizer(spec, recognizer._run)
    same(swapped(speech(1), RATE), recognizer(speech(1), RATE), atol=0)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_channels_and_sample_type(recognizer: AudioEmotionRecognizer, rate: int) -> None:
    waveform = speech(1.5, rate)
    estimate = recognizer(waveform, rate)
    same(estimate, recognizer(np.stack([waveform, waveform]), rate))
    same(estimate, recognizer((waveform * 32_767).astype(np.int16), rate), atol=1e-3)
    same(estimate, recognizer(waveform * 0.01, rate))


def test_a_batch_of_mixed_lengths_gives_each_clip_its_own_score(recognizer: AudioEmotionRecognizer) -> None:
    clips = [speech(seconds, seed=index) for index, seconds in enumerate((30, 0.025, 4, 0.3, 29, 2))]
    for clip, estimate in zip(clips, recognizer.batch(clips, RATE), strict=True):
        same(estimate, recognizer(clip, RATE))
        assert estimate.end_seconds == clip.size / RATE
    assert recognizer.batch([], RATE) == []


def test_batches_stay_below_a_minute_of_padded_audio(recognizer: AudioEmotionRecognizer) -> None:
    shapes = []

    def run(inputs: Mapping[str, np.ndarray]) -> Any:
        shapes.append(inputs["waveform"].shape)
        return recognizer._run(inputs)

    AudioEmotionRecognizer(recognizer.spec, run).batch([speech(s) for s in (20, 1, 25, 30, 2, 1)], RATE)
    assert sum(rows for rows, _ in shapes) == 6
    assert all(rows * length <= 60 * RATE for rows, length in shapes)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.full(RATE, np.nan, np.float32), "NaN or infinite"),
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros(RATE, np.float32), "silent"),
        (speech(0.02), "shortest usable clip"),
        (speech(31), r"31\.00 s long.*timeline"),
        (np.zeros((1, 2, 400), np.float32), r"shape \(1, 2, 400\)"),
        (np.array(0.5, np.float32), r"shape \(\)"),
        (np.array(["a"] * 400), "samples of type"),
        (np.ones(400, complex), "samples of type"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(
    recognizer: AudioEmotionRecognizer, waveform: np.ndarray, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer(waveform, RATE)
    with pytest.raises(AudioError, match=f"clip 1: .*{message}"):
        recognizer.batch([speech(1), waveform], RATE)


def test_a_timeline_covers_long_audio_and_leaves_silence_out(recognizer: AudioEmotionRecognizer) -> None:
    audio = np.concatenate([speech(40), np.zeros(20 * RATE, np.float32), speech(10, seed=1)])
    timeline = recognizer.timeline(audio, RATE)
    starts = [estimate.start_seconds for estimate in timeline]
    assert starts == sorted(starts)
    assert starts[:3] == [0.0, 2.5, 5.0]
    assert timeline[-1].end_seconds == 70.0
    assert not any(estimate.start_seconds > 40 and estimate.end_seconds < 60 for estimate in timeline)
    same(timeline[2], recognizer(audio[5 * RATE : 10 * RATE], RATE), atol=1e-3)
    short = recognizer.timeline(speech(3), RATE)
    assert len(short) == 1
    same(short[0], recognizer(speech(3), RATE))


def test_impossible_windows_are_refused(recognizer: AudioEmotionRecognizer) -> None:
    with pytest.raises(ValueError, match="window_seconds=31"):
        recognizer.timeline(speech(40), RATE, window_seconds=31)
    with pytest.raises(ValueError, match="overlap_seconds"):
        recognizer.timeline(speech(40), RATE, window_seconds=2, overlap_seconds=2)


def test_a_tampered_graph_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = ModelFolder(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    model = onnx.load(folder.onnx)
    model.doc_string = "changed"
    onnx.save(model, folder.onnx)
    with pytest.raises(ModelFolderError, match=r"model\.onnx is not the file that was exported"):
        AudioEmotionRecognizer.load(folder.path)


def test_a_description_of_another_graph_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = ModelFolder(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    spec = folder.open()
    replace(spec, outputs=(spec.outputs[1], spec.outputs[0], *spec.outputs[2:])).write(folder.spec)
    with pytest.raises(ModelFolderError, match=r"model\.yaml says waveform, num_samples, arousal, valence"):
        AudioEmotionRecognizer.load(folder.path)
    replace(spec, task="speech_recognition").write(folder.spec)
    with pytest.raises(ModelFolderError, match="does speech_recognition"):
        AudioEmotionRecognizer.load(folder.path)


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    soundfile.write(tmp_path / "good.wav", speech(1), RATE)
    soundfile.write(tmp_path / "long.flac", speech(33, 22_050), 22_050)
    (tmp_path / "bad [1].wav").write_bytes(b"RIFF rubbish")
    return [str(tmp_path / name) for name in ("good.wav", "bad [1].wav", "long.flac")]


def test_one_bad_file_is_named_and_the_others_are_scored(
    tiny_model_folder: Path, recordings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_model_folder), *recordings, "--json", "--threads", "1"]) == 1
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    good, bad, long = result["files"]
    assert [entry["file"] for entry in result["files"]] == recordings
    assert set(good["scores"]) == {"valence", "arousal", "dominance"}
    assert "timeline" not in good
    assert recordings[1] in bad["error"]
    assert printed.err.startswith(f"error: {recordings[1]}")
    assert long["timeline"][-1]["end_seconds"] == pytest.approx(33, abs=0.01)
    mean = np.mean([window["scores"]["arousal"] for window in long["timeline"]])
    assert long["scores"]["arousal"] == pytest.approx(mean, abs=1e-4)
    assert result["model"]["label_source"] == "mapped"
    assert result["model"]["synthetic"] is True


def test_the_table_says_that_the_labels_are_mapped_and_the_speech_synthetic(
    tiny_model_folder: Path, recordings: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main([str(tiny_model_folder), recordings[0], recordings[2]]) == 0
    printed = capsys.readouterr().out
    for words in ("synthetic speech, mapped labels", "valence", "arousal", "good.wav", "2.5-7.5"):
        assert words in printed


def test_no_model_is_a_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing"), "a.wav"]) == 2
    assert "nothing is no folder" in capsys.readouterr().err


def test_scoring_needs_no_training_libraries(tiny_model_folder: Path, recordings: list[str]) -> None:
    code = (
        "import sys; from pixel_mm.inference.emotion_cli import main;"
        f"main([{str(tiny_model_folder)!r}, {recordings[0]!r}, '--json']);"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'hydra', 'omegaconf', 'transformers', 'datasets'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["emotion"]


def test_the_module_is_the_command(tiny_model_folder: Path, recordings: list[str]) -> None:
    module = "pixel_mm.inference.audio_emotion_recognition"
    command = [sys.executable, "-m", module, str(tiny_model_folder), *recordings, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [("error" in entry) for entry in json.loads(done.stdout)["files"]] == [False, True, False]
