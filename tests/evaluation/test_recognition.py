"""A recogniser evaluated on transcribed clips: real speech and weights where they are, else a random tiny network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.evaluation.recognition import compare_batches, measure, read_samples, time_components
from pixel_mm.exporters.whisper_checkpoint import write_checkpoint
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.voice_activity import VoiceActivity
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.models.speech_recognition.decoding import DecodingOptions
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.runs import RunFolder
from pixel_mm.train import begin
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

SUITE = OmegaConf.create({"normaliser": "basic", "worst": 5, "batch_size": 2, "component_clips": 2})


class Everybody:
    """A voice activity network that always hears somebody."""

    def run(self, names: list[str], given: dict[str, Any]) -> list[np.ndarray]:
        return [np.ones(len(given["input"]), np.float32), given["h"], given["c"]]


def tiny() -> SpeechRecognizer:
    engine = DecoderEngine(TorchDecoder(tiny_recognizer()), tiny_tokenizer())
    return SpeechRecognizer(engine, VoiceActivity(Everybody()), DecodingOptions(max_tokens=6))


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    rows = []
    for number, seconds in enumerate((0.5, 1.2, 0.8)):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(round(16_000 * seconds)), 16_000)
        rows.append(Utterance(path=path, speaker=f"s{number}", transcript="one two three four"))
    return rows


def test_every_part_is_measured(utterances: list[Utterance]) -> None:
    samples, bad = read_samples(utterances, None, 0.0)
    metrics = measure(tiny(), samples, SUITE)
    assert bad == {}
    assert metrics["num_clips"] == 3
    assert metrics["speed"]["num_clips"] == 3
    assert metrics["batch"] == {"size": 2, "num_clips": 3, "different": []}
    assert all(value > 0 for value in metrics["components"].values())
    assert len(metrics["suspect"]) == 3  # a random network understands nothing


def test_a_clip_that_its_batch_changes_is_named(utterances: list[Utterance]) -> None:
    class Hasty(DecoderEngine):
        def transcribe(self, waveforms: Any, options: Any) -> Any:
            found = DecoderEngine.transcribe(self, waveforms, options)
            return [type(each)((1,), each.log_probabilities, 0.0, "en") for each in found[:1]] + found[1:]

    recognizer = tiny()
    samples, _ = read_samples(utterances, None, 0.0)
    recognizer.engine = Hasty(recognizer.engine.decoder, recognizer.engine.tokenizer)
    assert compare_batches(recognizer, samples, 2)["different"] != []
    assert compare_batches(recognizer, samples, 1)["different"] == []


def test_an_engine_that_cannot_be_taken_apart_has_no_components(utterances: list[Utterance]) -> None:
    recognizer = tiny()
    recognizer.engine = object()  # type: ignore[assignment]
    assert time_components(recognizer, read_samples(utterances, 1, 0.0)[0]) is None


def test_a_clip_without_a_transcript_is_refused_by_name(utterances: list[Utterance]) -> None:
    unlabelled = Utterance(path=utterances[0].path, speaker="x")
    with pytest.raises(EvaluateError, match=r"1 of 4 clips have no transcript \(.*0\.wav.*data\.part"):
        read_samples([*utterances, unlabelled], None, 0.0)


def test_few_bad_clips_are_listed_and_many_refused(utterances: list[Utterance], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    rows = [*utterances, Utterance(path=broken, speaker="x", transcript="words")]
    samples, bad = read_samples(rows, None, 0.3)
    assert (len(samples), [name.rpartition("/")[2] for name in bad]) == (3, ["broken.wav"])
    with pytest.raises(ValueError, match="1 of 4 clips cannot be used"):
        read_samples(rows, None, 0.1)
    assert len(read_samples(rows, 2, 1.0)[0]) == 1  # first and last, evenly spread


@pytest.mark.weights
@pytest.mark.data
@pytest.mark.slow
def test_real_speech_through_the_command(pixel_mm_data: Path, tmp_path: Path) -> None:
    def composed(name: str, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose(name, list(overrides))

    chosen = composed("export", "target=recognizer", "output=nowhere").recognizer
    write_checkpoint(instantiate(chosen.network), instantiate(chosen.tokenizer).path(), tmp_path / "model")
    options = ["suite=speech_recognition", f"model_folder={tmp_path / 'model'}", f"paths.run={tmp_path / 'run'}"]
    options += ["data=librispeech", f"data.root={pixel_mm_data / 'librispeech'}", "data.part=test-other", "logger=none"]
    cfg = composed("evaluate", *options, "suite.max_clips=3", "suite.component_clips=1", "suite.batch_size=3")
    begin(RunFolder(tmp_path / "run"), cfg, [])
    assert instantiate(cfg.suite.check)(cfg)
    text = (tmp_path / "run" / "report" / "report.md").read_text(encoding="utf-8")
    assert "each of 3 clips has the transcript that it has alone" in text
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["scores"]["word"]["rate"] < 0.3
