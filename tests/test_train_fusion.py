"""A fusion run from configuration to report, on tones, a few sentences and a random language model: it says nothing."""

import csv
import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.evaluation.fusion import evaluate_configured
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.train import TrainResult, fit
from pixel_mm.training.fusion_task import FusionTaskError, load_fusion_network
from tests.training_runs import compose_tiny, compose_train, same, tiny_overrides, weights

PARTS = "{validation: 0.25, test: 0.5}"


@pytest.fixture(scope="module")
def emobank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of all three bands in all three parts."""
    folder = tmp_path_factory.mktemp("emobank")
    with (folder / "emobank.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "split", "V", "A", "D", "text"))
        for split in ("train", "dev", "test"):
            for number, valence in enumerate((2.2, 3.0, 3.8) * 3):
                writer.writerow((f"{split}_{number}", split, valence, 3, 3, f"This is {split} sentence {number}."))
    return folder


def train(corpus: Path, emobank: Path, runs: Path, *overrides: str) -> TrainResult:
    runs.mkdir(parents=True, exist_ok=True)
    return fit(
        compose_train(
            "experiment=fusion",
            *tiny_overrides(corpus, runs),
            "backbone=tiny_moe",
            "encoder=whisper_micro_random",
            f"datamodule.sources.pairs.sentences.root={emobank}",
            f"datamodule.sources.pairs.fractions={PARTS}",
            "datamodule.sources.pairs.sentences_per_clip=1",
            f"datamodule.sources.answers.fractions={PARTS}",
            "datamodule.sources.answers.clips_per_answer=1",
            "callbacks.learning_curves=null",
            "trainer.max_epochs=1",
            "trainer.limit_train_batches=2",
            *overrides,
        )
    )


def compose_suite(runs: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("evaluate", ["suite=fusion", f"paths.run={runs / 'evaluation'}", *overrides])


@pytest.mark.slow
def test_a_run_is_trained_and_judged(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    fused = train(tone_corpus, emobank, tmp_path / "fused")
    assert {"train/loss", "validation/loss", "validation/ccc", "test/response_loss"} <= fused.metrics.keys()
    saved = torch.load(fused.run_folder.last_checkpoint, weights_only=False)["state_dict"]
    assert saved
    assert all(name.startswith(("network.adapter.", "network.heads.")) for name in saved)
    text = train(
        tone_corpus, emobank, tmp_path / "text", "model=fusion_text_only", "datamodule.hears=false",
        "datamodule.describes=true",
    )  # fmt: skip
    cfg = compose_suite(
        tmp_path,
        f"suite.runs.fused={fused.run_folder.path}",
        f"suite.runs.prosody_in_words={text.run_folder.path}",
        "suite.max_texts=3",
        "suite.max_pictures=1",
        f"suite.masked_distress.fractions={PARTS}",
        "suite.masked_distress.clips_per_text=1",
    )
    assert evaluate_configured(cfg)
    report = tmp_path / "evaluation" / "report"
    metrics = json.loads((report / "metrics.json").read_text())
    assert set(metrics["scores"]["valence"]) == {"fused", "prosody in words", "wrong voice", "silence"}
    assert set(metrics["masked_distress"]) == {"fused", "prosody in words"}
    assert metrics["crisis"]["before"] == metrics["crisis"]["after"]
    assert metrics["label_source"] == "constructed"
    text_of_report = (report / "report.md").read_text(encoding="utf-8")
    assert "figures/attention_1.png" in text_of_report
    assert text_of_report.count("Not measured in this run.") == 2  # HateCheck and CrowS-Pairs


@pytest.mark.slow
def test_a_trained_emotion_model_is_heard_beside_the_encoder(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    emotion = fit(compose_tiny(tone_corpus, tmp_path, "trainer.max_epochs=1"))
    run = train(tone_corpus, emobank, tmp_path / "fusion", f"emotion_run={emotion.run_folder.path}")
    network = load_fusion_network(run.run_folder)
    assert set(network.encoders) == {"emotion", "recognition"}
    assert same(network.state_dict(), weights(run))
    with pytest.raises(FusionTaskError, match="give a run of experiment=emotion"):
        train(tone_corpus, emobank, tmp_path / "again", f"emotion_run={run.run_folder.path}")


def test_a_suite_without_a_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match=r"suite\.runs\.fused=DIR"):
        evaluate_configured(compose_suite(tmp_path))
