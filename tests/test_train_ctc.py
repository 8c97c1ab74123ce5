"""A CTC recogniser trained through the command's own functions, on a corpus made in a moment."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.ctc_vocabulary import CtcVocabulary
from pixel_mm.exporters.recognition import write_configured
from pixel_mm.exporters.trained_network import load_network
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.train import fit
from pixel_mm.training.transcript_task import TranscriptError
from tests.training_runs import compose_train, tiny_overrides
from tests.transcribed_corpus import write_transcribed

SMALL = """{_target_: transformers.HubertConfig, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
    intermediate_size: 32, conv_dim: [8, 8, 8, 8, 8, 8, 8], num_conv_pos_embeddings: 16,
    num_conv_pos_embedding_groups: 2}"""


def compose_ctc(corpus: Path, runs: Path) -> DictConfig:
    return compose_train(
        "experiment=speech_recognition",
        *tiny_overrides(corpus, runs),
        "recognizer=ctc_hubert_base",
        "recognizer.pretrained_weights=false",
        f"+recognizer.network.encoder.config={' '.join(SMALL.split())}",
        "datamodule.corpus=${data.corpus}",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "datamodule.split.fractions={validation: 0.25, test: 0.25}",
        "datamodule.max_bad_share=0.1",
    )


@pytest.mark.slow
def test_it_is_trained_and_keeps_its_characters(tone_corpus: Path, tmp_path: Path) -> None:
    result = fit(compose_ctc(write_transcribed(tone_corpus, tmp_path), tmp_path))
    assert {"validation/word_error_rate", "test/character_error_rate", "test/loss"} <= result.metrics.keys()
    reasons = sorted(json.loads(result.run_folder.bad_clips.read_text()).values())
    assert "31.0 s long" in reasons[0]
    assert "its transcript needs 2999 frames" in reasons[1]
    network = load_network(result.run_folder)
    assert isinstance(network, CtcRecognizer)
    assert CtcVocabulary.load(result.run_folder.vocabulary).characters == network.vocabulary.characters
    assert set("this is anger.") <= set(network.vocabulary.characters)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = [f"run={result.run_folder.path}", f"output={tmp_path / 'model'}"]
        as_whisper, as_ctc = (compose("export", [f"target={target}", *run]) for target in ("recognizer", "ctc"))
    with pytest.raises(ModelFolderError, match=r"trained a CtcRecognizer, no Whisper; see target=ctc"):
        write_configured(as_whisper)
    get_method(as_ctc.write.path)(as_ctc)
    spec = ModelFolder(tmp_path / "model").open()
    assert spec.output("log_probabilities").labels[1:] == network.vocabulary.characters
    assert spec.provenance.label_source == "transcripts"


def test_an_encoder_that_nobody_taught_to_write_is_not_exported(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("export", ["target=recognizer", "recognizer=ctc_hubert_base", f"output={tmp_path / 'model'}"])
    with pytest.raises(ModelFolderError, match="train it, then see target=ctc"):
        write_configured(cfg)


def test_a_character_that_only_held_out_speakers_say_is_named(tone_corpus: Path, tmp_path: Path) -> None:
    cfg = compose_ctc(tone_corpus, tmp_path)
    data = instantiate(cfg.datamodule)
    held_out = data.utterances[data.parts.validation[0]].speaker
    write_transcribed(tone_corpus, tmp_path, lambda row: "nine 9" if row["speaker"] == held_out else "nine is it")
    with pytest.raises(TranscriptError, match=rf"wav/{held_out}.*: the vocabulary lacks '9' \(DIGIT NINE\)"):
        fit(compose_ctc(tmp_path, tmp_path))
