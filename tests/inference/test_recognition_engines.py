"""The three ways to run a recogniser, on a tiny one."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from pixel_mm.exporters.whisper_checkpoint import write_checkpoint
from pixel_mm.inference.faster_whisper_engine import FasterWhisperEngine
from pixel_mm.inference.recognition_engines import load_engine
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, decode
from pixel_mm.models.speech_recognition.network import Context
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.whisper_tokens import TokenizerError
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    tiny_tokenizer().tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(scale=0.05, size=size).astype(np.float32) for size in (8_000, 20_000)]


@pytest.mark.parametrize("context", ["short", pytest.param("full", marks=pytest.mark.slow)])
def test_a_checkpoint_is_heard_as_the_network_hears(tmp_path: Path, tokenizer_file: Path, context: Context) -> None:
    network, options = tiny_recognizer(context), DecodingOptions(max_tokens=8)
    write_checkpoint(network, tokenizer_file, tmp_path / "checkpoint")
    engine = load_engine(tmp_path / "checkpoint", None, "float32", 0)
    assert isinstance(engine, DecoderEngine)
    found = engine.transcribe(clips(), options)
    wanted = decode(TorchDecoder(network), clips(), tiny_tokenizer(), options)
    assert [each.tokens for each in found] == [each.tokens for each in wanted]


def test_words_are_timed_by_the_heads_of_the_checkpoint(tmp_path: Path, tokenizer_file: Path) -> None:
    write_checkpoint(tiny_recognizer(), tokenizer_file, tmp_path / "checkpoint", alignment_heads=((1, 0),))
    engine = load_engine(tmp_path / "checkpoint", None, "float32", 0)
    assert isinstance(engine, DecoderEngine)
    assert engine.alignment_heads == ((1, 0),)
    tokens = tuple(tiny_tokenizer().encode(" pip pé, x"))
    said = Hypothesis(tokens, tuple(np.linspace(-1, -0.1, len(tokens) + 1)), 0.0, "en")
    clip = clips()[0]
    found = engine.words(clip, said, DecodingOptions())
    assert [word.text for word in found] == ["pip", "pé,", "x"]
    times = [moment for word in found for moment in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= clip.size / 16_000
    assert found[2].confidence == pytest.approx(np.exp(said.log_probabilities[-2]))  # of "x", without its space
    assert engine.words(clip, replace(said, tokens=()), DecodingOptions()) == []


def test_a_head_that_is_not_there_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    with pytest.raises(
        ModelFolderError, match=r"alignment_heads has \[2, 0\], but the decoder has 2 layers of 2 heads"
    ):
        write_checkpoint(tiny_recognizer(), tokenizer_file, tmp_path / "checkpoint", alignment_heads=((0, 1), (2, 0)))


def test_a_tokenizer_of_other_weights_and_a_broken_description_are_refused(
    tmp_path: Path, tokenizer_file: Path
) -> None:
    folder = tmp_path / "checkpoint"
    write_checkpoint(tiny_recognizer(), tokenizer_file, folder)
    sizes = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**sizes, "vocab_size": 51_865}))
    with pytest.raises(TokenizerError, match="does not belong to the weights"):
        load_engine(folder, "torch", "float32", 0)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"config\.json describes no Whisper: KeyError\('vocab_size'\)"):
        load_engine(folder, "torch", "float32", 0)
    with pytest.raises(ModelFolderError, match="backend 'torch' runs float32 alone"):
        load_engine(folder, "torch", "int8", 0)


@pytest.fixture
def converted(tmp_path: Path, tokenizer_file: Path) -> Path:
    """A folder that looks like CTranslate2's."""
    folder = tmp_path / "converted"
    folder.mkdir()
    shutil.copy(tokenizer_file, folder)
    (folder / "model.bin").write_bytes(b"")
    return folder


def test_faster_whisper_is_asked_for_what_the_options_say(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    tokenizer = tiny_tokenizer()

    class WhisperModel:
        def __init__(self, folder: str, **settings: object) -> None:
            asked.append({"folder": folder, **settings})

        def transcribe(self, waveform: np.ndarray, **options: object) -> tuple[object, object]:
            asked.append(options)
            segments = [
                SimpleNamespace(
                    tokens=[*tokenizer.encode(" pip"), tokenizer.end], avg_logprob=-0.5, no_speech_prob=0.2,
                    words=[SimpleNamespace(word=" pip", start=start, end=start + 0.5, probability=0.7)],
                )
                for start in (0.1, 0.8)
            ]  # fmt: skip
            return iter(segments), SimpleNamespace(language="en")

    module = ModuleType("faster_whisper")
    module.WhisperModel = WhisperModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    engine = load_engine(converted, None, "int8", 2)
    assert isinstance(engine, FasterWhisperEngine)
    found = engine.transcribe(clips(), DecodingOptions(language=None, beam_size=3, hot_words=("Pixel", "pip")))
    assert [tokenizer.decode(each.tokens) for each in found] == [" pip pip"] * 2
    assert (found[0].mean_log_probability, found[0].no_speech_probability, found[0].language) == (-0.5, 0.2, "en")
    assert (asked[0]["compute_type"], asked[0]["cpu_threads"]) == ("int8", 2)
    assert (asked[1]["beam_size"], asked[1]["hotwords"], asked[1]["language"]) == (3, "Pixel pip", "en")
    assert (asked[1]["without_timestamps"], asked[1]["word_timestamps"]) == (True, False)
    timed = engine.words(clips()[0], found[0], DecodingOptions(language=None))
    assert [(word.text, word.start_seconds, word.end_seconds) for word in timed] == [
        ("pip", 0.1, 0.6),
        ("pip", 0.8, 1.3),
    ]
    assert timed[0].confidence == pytest.approx(0.7)
    assert (asked[-1]["word_timestamps"], asked[-1]["language"]) == (True, "en")
    more = replace(found[0], tokens=(*tokenizer.encode(" x"), *found[0].tokens))  # it did not hear this one again
    assert [
        (word.text, word.start_seconds, word.confidence > 0)
        for word in engine.words(clips()[0], more, DecodingOptions())
    ] == [("x", 0.0, False), ("pip", 0.1, True), ("pip", 0.8, True)]


def test_folders_that_are_no_recogniser_are_refused(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ModelFolderError, match=r"pip install 'pixel_mm\[faster-whisper\]'"):
        load_engine(converted, None, "float32", 0)
    (converted / "model.bin").unlink()
    with pytest.raises(ModelFolderError, match=r"holds no recogniser: none of model\.yaml"):
        load_engine(converted, None, "float32", 0)
    with pytest.raises(ModelFolderError, match=r"has no model\.bin, which backend 'faster-whisper' needs"):
        load_engine(converted, "faster-whisper", "float32", 0)
    with pytest.raises(ModelFolderError, match="backend is 'jax'"):
        load_engine(converted, "jax", "float32", 0)  # type: ignore[arg-type]
    with pytest.raises(ModelFolderError, match="is no folder"):
        load_engine(converted / "nothing", None, "float32", 0)


def test_recognising_imports_no_training_libraries() -> None:
    code = (
        "import sys; import pixel_mm.inference.recognition_cli;"
        "from pixel_mm.inference.voice_activity import VoiceActivity; VoiceActivity.load();"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'hydra', 'omegaconf', 'transformers', 'silero_vad'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
