import json
from pathlib import Path

import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

from pixel_mm.exporters.whisper_checkpoint import write_checkpoint
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.pretrained import read_folder
from pixel_mm.whisper_tokens import TokenizerError
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

TOKENS = torch.tensor([[257, 264, 40, 41, 42, 7]])


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    tiny_tokenizer().tokenizer.save(str(path))
    return path


@torch.no_grad()
def test_transformers_loads_it_and_computes_the_same(tmp_path: Path, tokenizer: Path) -> None:
    network = tiny_recognizer("full")
    write_checkpoint(network, tokenizer, tmp_path / "model")
    theirs = WhisperForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path / "model")
    waveform, num_samples = speech(30_000)
    features = extractor(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    logits = theirs(features, decoder_input_ids=TOKENS).logits
    torch.testing.assert_close(network(waveform, num_samples, TOKENS), logits, atol=2e-3, rtol=0)
    read = WhisperTokenizerFast(tokenizer_file=str(tmp_path / "model" / "tokenizer.json"))
    assert read.encode("pa", add_special_tokens=False) == tiny_tokenizer().encode("pa")
    assert theirs.config.decoder_start_token_id == tiny_tokenizer().start


def test_what_is_loaded_is_what_was_written(tmp_path: Path, tokenizer: Path) -> None:
    network = tiny_recognizer("short")
    write_checkpoint(network, tokenizer, tmp_path / "model")
    kept = read_folder(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["audio_context"] == "short"
    assert all(torch.equal(kept[f"model.{name}"], tensor) for name, tensor in network.state_dict().items())


def test_nothing_is_overwritten_and_a_tokenizer_of_other_weights_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ModelFolderError, match="exists; choose another"):
        write_checkpoint(tiny_recognizer(), tokenizer, tmp_path / "there")
    network = tiny_recognizer()
    network.decoder.num_tokens += 1
    with pytest.raises(TokenizerError):
        write_checkpoint(network, tokenizer, tmp_path / "model")
    assert not (tmp_path / "model").exists()
