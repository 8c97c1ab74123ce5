"""Confidence held against what was said, and a map fitted to it."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from pixel_mm.audio import Waveform
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.evaluation import word_confidence
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.evaluation.word_confidence import JudgedWords, fit_logistic, fit_map, right_words
from pixel_mm.inference.confidence import ConfidenceMap
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.metrics.error_rates import normaliser
from pixel_mm.model_folder import ModelFolder, ModelSpec, Provenance
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis
from tests.tiny_recognition import tiny_tokenizer

SPEC = ModelSpec(
    "tiny", "speech_recognition", 16_000, 0.025, 30.0, (), (),
    Provenance("transcripts", "none", False, "unknown", "tiny", "none"),
)  # fmt: skip


def test_words_are_right_where_the_alignment_says_so() -> None:
    same = normaliser("basic")
    found = right_words(["The", " cat,", " -", " sat", " on-a", " mat."], "the hat sat on mat", same)
    assert found == [True, False, None, True, False, True]
    assert right_words(["so"], "", same) == [False]
    assert right_words([], "so", same) == []


def test_logistic_regression_finds_the_weights_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20_000, 2)) * [1.0, 5.0] + [0.0, 3.0]
    right = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * features[:, 0] - 0.2 * features[:, 1] + 0.5)))
    weights, bias = fit_logistic(features, right)
    np.testing.assert_allclose([*weights, bias], [1.5, -0.2, 0.5], atol=0.06)
    apart, _ = fit_logistic(np.array([[0.0], [1.0]]), np.array([False, True]))  # what the ridge is for
    assert 0 < apart[0] < 10


def overconfident(num_speakers: int = 6) -> JudgedWords:
    """Probabilities of words that are right half as often as they say."""
    rng = np.random.default_rng(1)
    own = rng.uniform(0.5, 1.0, 3000)
    features = np.column_stack([np.log(own), np.log(own), np.full(3000, -0.3), np.full(3000, -5.0)])
    speakers = np.array([f"s{number % num_speakers}" for number in range(3000)])
    return JudgedWords(features, rng.random(3000) < own / 2, speakers, np.arange(3000) // 20)


def test_a_fitted_map_is_calibrated_on_speakers_that_it_has_not_heard() -> None:
    judged = overconfident()
    before = judged.errors(np.exp(judged.features[:, 0]))
    fitted, held_out = fit_map(judged, "tones")
    after = judged.errors(held_out)
    assert before["words"] > 0.3
    assert after["words"] == fitted.calibration_error < 0.05
    assert after["utterances"] < before["utterances"]
    assert (fitted.num_words, fitted.num_speakers, fitted.corpus) == (3000, 6, "tones")


def test_no_fit_hears_the_speaker_that_it_is_judged_on(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, heard = overconfident(3), []
    plain = word_confidence.fit_logistic
    monkeypatch.setattr(word_confidence, "fit_logistic", lambda f, r: heard.append(len(r)) or plain(f, r))
    fit_map(judged, "tones")
    assert heard == [2000, 2000, 2000, 3000]


def test_what_cannot_be_fitted_is_refused() -> None:
    judged = overconfident(1)
    with pytest.raises(EvaluateError, match="3000 words of 1 speakers"):
        fit_map(judged, "tones")
    with pytest.raises(EvaluateError, match="of both kinds"):
        fit_map(JudgedWords(judged.features, judged.right | True, overconfident().speakers, judged.clips), "tones")


class Parrot(DecoderEngine):
    """Writes "yes no", and is a little less sure of the second word."""

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        tokens = self.tokenizer.encode(" yes no")
        scores = [-0.1] * 4 + [-0.2] * (len(tokens) - 4) + [-0.1]
        return [Hypothesis(tuple(tokens), tuple(scores), 0.01, "en") for _ in waveforms]


def test_the_command_measures_and_puts_the_map_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ModelFolder(tmp_path / "model")
    place.path.mkdir()
    (place.path / "encoder.onnx").write_bytes(b"graph")
    place.seal(SPEC)
    lines = ["path,speaker,transcript"]
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 16_000)
        lines.append(f"{number}.wav,s{number % 4},{'yes no' if number < 4 else 'yes'}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    monkeypatch.setattr(
        word_confidence,
        "load_exported",
        lambda *_: Parrot(SimpleNamespace(), tiny_tokenizer()),  # type: ignore[arg-type]
    )
    given = [
        "suite=word_confidence", "data=manifest", f"data.root={tmp_path / 'manifest.csv'}",
        f"paths.run={tmp_path / 'run'}", f"model_folder={place.path}",
    ]  # fmt: skip
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        plain, fitting = compose("evaluate", given), compose("evaluate", [*given, "suite.fit=true"])
        missing = compose("evaluate", given[:-1])
    assert instantiate(plain.suite.check)(plain) is True
    assert not (place.path / "confidence.yaml").exists()
    assert instantiate(fitting.suite.check)(fitting) is True
    fitted = ConfidenceMap.read(place.path / "confidence.yaml")
    assert "confidence.yaml" in place.open().files
    assert (fitted.num_words, fitted.num_speakers) == (16, 4)
    written = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert (written["num_words"], written["num_right"]) == (16, 12)
    assert "fitted now" in (tmp_path / "run" / "report" / "report.md").read_text()
    with pytest.raises(EvaluateError, match="model_folder=DIR"):
        instantiate(missing.suite.check)(missing)
