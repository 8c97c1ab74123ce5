"""Recognisers trained, exported and checked through the commands' own functions, on a corpus made in a moment."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.corpora.manifest import Manifest
from pixel_mm.data.corpora.synthetic_voice import Voice, load_sentences
from pixel_mm.data.utterance import Utterance
from pixel_mm.export import ExportError, export_run
from pixel_mm.exporters.trained_network import describe_origin, find_tokenizer, load_network
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.runs import RunFolder
from pixel_mm.train import fit
from pixel_mm.training.transcript_divider import TranscriptDivider
from pixel_mm.training.transcript_task import TranscriptError, TranscriptTask
from pixel_mm.whisper_tokens import TokenizerError, WhisperTokenizer
from tests.training_runs import compose_train, same, tiny_overrides, weights
from tests.transcribed_corpus import write_transcribed

pytestmark = pytest.mark.weights  # the tokenizer is tiny.en's


def compose_context(corpus: Path, runs: Path, *overrides: str):
    return compose_train(
        "experiment=whisper_dynamic_context",
        *tiny_overrides(corpus, runs),
        "recognizer=whisper_micro_random",
        "crops.crops_per_clip=1",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "datamodule.split.fractions={validation: 0.25, test: 0.25}",
        *overrides,
    )


@pytest.mark.slow
def test_dynamic_context_trains_and_comes_back_from_its_run(tone_corpus: Path, tmp_path: Path) -> None:
    cfg = compose_context(tone_corpus, tmp_path)
    untrained = {name: tensor.clone() for name, tensor in instantiate(cfg.model).state_dict().items()}
    result = fit(cfg)
    assert {"validation/loss", "validation/frame_loss", "validation/token_loss", "test/loss"} <= result.metrics.keys()
    network = load_network(result.run_folder)
    assert isinstance(network, WhisperRecognizer)
    assert network.context == "short"
    assert same(network.state_dict(), weights(result))
    assert not same(network.state_dict(), untrained)
    origin = describe_origin(result.run_folder)
    assert (origin.label_source, origin.encoder) == ("transcripts", "WhisperEncoder from random weights")
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        export = compose("export", [f"run={result.run_folder.path}", f"output={tmp_path / 'model'}"])
    with pytest.raises(ExportError, match="trained no emotion model; a recogniser's takes target=recognizer"):
        export_run(export, tmp_path / "model")
    kept = sorted((tmp_path / "cache" / "lessons").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in kept]
    again = fit(compose_context(tone_corpus, tmp_path, "resume=null"))
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert torch.equal(*(weights(each)["encoder.conv1.weight"] for each in (result, again)))


@pytest.fixture(scope="module")
def transcribed(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transcribed(tone_corpus, tmp_path_factory.mktemp("transcribed"))


def compose_recognition(corpus: Path, runs: Path, *overrides: str) -> DictConfig:
    return compose_train(
        "experiment=speech_recognition",
        *tiny_overrides(corpus, runs),
        "recognizer=whisper_micro_random",
        "recognizer.network.context=short",
        "recognizer.writing.max_tokens=4",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "datamodule.split.fractions={validation: 0.25, test: 0.25}",
        "datamodule.max_bad_share=0.1",
        *overrides,
    )


@pytest.mark.slow
def test_a_recogniser_is_trained_on_transcripts_and_keeps_its_tokenizer(
    transcribed: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    cfg = compose_recognition(transcribed, tmp_path, "adaptation=lora")
    data = instantiate(cfg.datamodule)
    result = fit(cfg, data)
    assert {"validation/word_error_rate", "test/character_error_rate", "test/loss"} <= result.metrics.keys()
    left_out = json.loads(result.run_folder.bad_clips.read_text())
    assert {Path(path).name for path in left_out} == {"long.wav", "t1_calm_0.wav"}
    assert "31.0 s long; a recogniser hears 30 s" in left_out[str(transcribed / "long.wav")]
    assert "has 1002 tokens, the decoder has 448 positions" in left_out[str(tone_corpus / "wav" / "t1_calm_0.wav")]
    network = load_network(result.run_folder)
    assert isinstance(network, WhisperRecognizer)
    assert describe_origin(result.run_folder).label_source == "transcripts"
    tokenizer = find_tokenizer(result.run_folder)
    assert tokenizer == result.run_folder.tokenizer
    published = WhisperTokenizer.load(instantiate(cfg.recognizer.tokenizer).path())
    assert WhisperTokenizer.load(tokenizer).encode(" This is it.") == published.encode(" This is it.")
    worst = TranscriptTask().worst_clips(cfg, network, data, torch.device("cpu"))
    assert worst[0].cells["said"].startswith("this is")  # type: ignore[attr-defined]
    tokenizer.write_text(tokenizer.read_text().replace("hello", "hullo"))
    with pytest.raises(TokenizerError, match="does not belong to the weights"):
        find_tokenizer(result.run_folder)


def test_clips_without_transcripts_are_refused_by_name(tone_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match=r"24 of 24 clips have no transcript \(wav/t\d_"):
        fit(compose_recognition(tone_corpus, tmp_path))
    assert not RunFolder(tmp_path / "run").config.exists()


@pytest.mark.slow
def test_a_long_recording_is_divided_where_its_sentences_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice, sentences, rng = Voice(), list(load_sentences().items())[:13], np.random.default_rng(1)
    spoken, places = [], []
    for _, phonemes in sentences:
        begin = sum(map(len, spoken))
        spoken += [voice.speak(phonemes), rng.normal(0, 1e-4, 11_000)]
        places.append((begin, begin + len(spoken[-2])))
    soundfile.write(tmp_path / "long.wav", np.concatenate(spoken), 16_000)
    clip = Utterance(tmp_path / "long.wav", "v", transcript=" ".join(text for text, _ in sentences))
    cfg = compose_recognition(tmp_path, tmp_path)
    monkeypatch.setattr(Manifest, "read", lambda self: [clip])
    found = instantiate(cfg.datamodule.corpus).read()
    assert len(found) >= 2
    assert " ".join(part.transcript for part in found) == clip.transcript
    for part in found:
        inside = [
            text
            for (text, _), (start, end) in zip(sentences, places, strict=True)
            if part.start_seconds * 16_000 < (start + end) / 2 < part.end_seconds * 16_000
        ]
        assert part.transcript == " ".join(inside)
    monkeypatch.setattr(TranscriptDivider, "_hear", None)
    assert instantiate(cfg.datamodule.corpus).read() == found
