from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pixel_mm.inference.confidence import FEATURES, ConfidenceMap
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.decoding import Hypothesis
from tests.tiny_recognition import tiny_tokenizer

MAP = ConfidenceMap({"word": 2.0, "lowest": 0.5, "transcript": 0.0, "no_speech": -0.1}, 1.0, "tones", 100, 4, 0.02)


def test_features_of_words_are_of_their_letters() -> None:
    tokenizer = tiny_tokenizer()
    engine = DecoderEngine(SimpleNamespace(), tokenizer)  # type: ignore[arg-type]
    tokens = tokenizer.encode(" pop, x")  # " p", "o", "p", ",", " ", "x"
    scores = (-0.1, -0.3, -0.2, -9.0, -9.0, -0.7, -0.4)
    words, features = engine.features(Hypothesis(tuple(tokens), scores, 0.01, "en"))
    assert words == ["pop,", " x"]
    np.testing.assert_allclose(features[:, :2], [[-0.2, -0.3], [-0.7, -0.7]])
    np.testing.assert_allclose(features[:, 2:], [[np.mean(scores), np.log(0.01)]] * 2)
    assert engine.features(Hypothesis((), (-0.1,), 0.0, "en"))[1].shape == (0, len(FEATURES))


def test_the_map_is_a_logistic_function_of_its_features() -> None:
    found = MAP(np.array([[-1.0, -2.0, -5.0, -10.0], [0.0, 0.0, -5.0, -10.0]]))
    np.testing.assert_allclose(found, [0.5 + 0.5 * np.tanh(-0.5), 0.5 + 0.5 * np.tanh(1.0)])


def test_what_is_written_is_read_again_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "confidence.yaml"
    MAP.write(path)
    assert ConfidenceMap.read(path) == MAP
    text = path.read_text()
    changes = {
        "word: 2.0": ("wort: 2.0", "word: two", "word: 2.0\n  more: 1.0"),
        "bias: 1.0": ("bias: .nan", "boas: 1.0"),
    }
    damaged = [text.replace(old, new) for old, news in changes.items() for new in news]
    for broken in ("[", "bias: 1", *damaged):
        path.write_text(broken)
        with pytest.raises(ModelFolderError, match=r"confidence\.yaml is no map of confidence"):
            ConfidenceMap.read(path)
