"""A fusion run from configuration to report, on tones, a few sentences and a random language model: it says nothing."""

import csv
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.fusion.written_sets import CrisisSuite
from pixel_mm.evaluation.fusion import evaluate_configured, load_judged
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.export import ExportError
from pixel_mm.export import main as write
from pixel_mm.inference.fusion_reply import GenerationOptions
from pixel_mm.inference.multimodal_fusion import MultimodalPixel
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from pixel_mm.runs import RunFolder
from pixel_mm.serving.server import TritonServer
from pixel_mm.train import TrainResult, fit
from pixel_mm.training.fusion_task import FusionTaskError, load_fusion_network
from tests.tone_corpus import tone
from tests.training_runs import compose_tiny, compose_train, run_command, same, tiny_overrides, weights
from tests.triton.fused_turns import ask

PARTS = "{validation: 0.25, test: 0.5}"
DENSE = (
    "backbone.config.model_type=llama",
    *(f"~backbone.config.{name}" for name in ("moe_intermediate_size", "num_experts", "num_experts_per_tok")),
)


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


def overrides(corpus: Path, emobank: Path, runs: Path, *more: str, experiment: str = "fusion") -> list[str]:
    """Options of a tiny run of the recipe."""
    runs.mkdir(parents=True, exist_ok=True)
    return [
        f"experiment={experiment}",
        *tiny_overrides(corpus, runs),
        "backbone=tiny_moe",
        "encoder=whisper_micro_random",
        f"datamodule.sources.pairs.sentences.root={emobank}",
        f"datamodule.sources.pairs.fractions={PARTS}",
        "datamodule.sources.pairs.sentences_per_clip=1",
        f"datamodule.sources.answers.fractions={PARTS}",
        f"datamodule.sources.crisis.fractions={PARTS}",
        "datamodule.sources.answers.clips_per_answer=1",
        "callbacks.learning_curves=null",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        *more,
    ]


def train(corpus: Path, emobank: Path, runs: Path, *more: str, experiment: str = "fusion") -> TrainResult:
    return fit(compose_train(*overrides(corpus, emobank, runs, *more, experiment=experiment)))


def compose_suite(runs: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("evaluate", ["suite=fusion", f"paths.run={runs / 'evaluation'}", *overrides])


def write_as_configured(*overrides: str) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        write(compose("export", list(overrides)))


@pytest.mark.slow
def test_a_run_is_trained_and_judged(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    # Who is tested here learns elsewhere by default: masked distress has to follow the run.
    divided = "speaker_split={_target_: pixel_mm.data.splits.fold, _partial_: true, number: 1, num_folds: 4}"
    fused = train(tone_corpus, emobank, tmp_path / "fused", divided)
    assert {"train/loss", "validation/loss", "validation/ccc", "test/response_loss"} <= fused.metrics.keys()
    saved = torch.load(fused.run_folder.last_checkpoint, weights_only=False)["state_dict"]
    assert saved
    assert all(name.startswith(("network.adapter.", "network.heads.")) for name in saved)
    text = train(
        tone_corpus, emobank, tmp_path / "text", "model=fusion_text_only", "datamodule.hears=false",
        "datamodule.describes=true", divided,
    )  # fmt: skip
    cfg = compose_suite(
        tmp_path,
        f"suite.runs.fused={fused.run_folder.path}",
        f"suite.runs.prosody_in_words={text.run_folder.path}",
        "suite.max_texts=3",
        "suite.max_pictures=1",
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
@pytest.mark.triton
def test_a_run_goes_all_the_way_to_a_server(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    run = train(tone_corpus, emobank, tmp_path / "fused", "model.layers=[5,7]").run_folder
    own = [f"suite.runs.fused={run.path}", "suite.masked_distress=null", "suite.crisis=null", "suite.max_pictures=0"]
    assert evaluate_configured(compose_suite(tmp_path, *own))
    folder, repository = tmp_path / "model", tmp_path / "repository"
    write_as_configured("target=fusion", f"run={run.path}", f"output={folder}")
    write_as_configured("target=triton_fusion", f"model_folder={folder}", f"repository={repository}")
    assert {"model.onnx", "model.pt", "adapter.safetensors"} <= set(ModelFolder(folder).open().files)
    voice = tone("sadness", 200.0, 1.2, np.random.default_rng(0))
    options = GenerationOptions(max_tokens=6)
    reply = MultimodalPixel.load(folder).respond("I'm fine.", voice, sample_rate_hz=16_000, options=options).finish()
    assert {"valence", "arousal", "interpretation"} <= reply.scores.scores.keys()
    with TritonServer(repository, models=("pixel",), variables={"OMP_NUM_THREADS": "1"}) as server:
        told = ask(server.grpc_url, "pixel", text="I'm fine.", waveform=voice, sample_rate_hz=16_000, max_tokens=6)
    assert told.reply["answer"] == reply.text == "".join(told.pieces)
    assert told.reply["scores"] == pytest.approx(dict(reply.scores.scores), abs=1e-5)


@pytest.mark.slow
def test_runs_that_are_not_deployed_are_refused(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    text = train(tone_corpus, emobank, tmp_path / "text", "model=fusion_text_only", "datamodule.hears=false")
    with pytest.raises(ModelFolderError, match="nothing in it that listens"):
        write_as_configured("target=fusion", f"run={text.run_folder.path}", f"output={tmp_path / 'model'}")
    config = OmegaConf.load(text.run_folder.config)
    config.datamodule.describes = True
    OmegaConf.save(config, text.run_folder.config)
    with pytest.raises(ExportError, match="voices described in words"):
        write_as_configured("target=fusion", f"run={text.run_folder.path}", f"output={tmp_path / 'model'}")
    config.task._target_ = "pixel_mm.training.emotion_task.EmotionTask"
    OmegaConf.save(config, text.run_folder.config)
    with pytest.raises(ExportError, match="trained no fusion"):
        write_as_configured("target=fusion", f"run={text.run_folder.path}", f"output={tmp_path / 'model'}")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_trained_emotion_model_is_heard_beside_the_encoder(tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    parts = (f"datamodule.split.fractions={PARTS}", "datamodule.split.seed=0")
    emotion = fit(compose_tiny(tone_corpus, tmp_path, "trainer.max_epochs=1", *parts))
    run = train(tone_corpus, emobank, tmp_path / "fusion", f"emotion_run={emotion.run_folder.path}")
    network = load_fusion_network(run.run_folder)
    assert set(network.encoders) == {"emotion", "recognition"}
    assert same(network.state_dict(), weights(run))
    with pytest.raises(FusionTaskError, match="give a run of experiment=emotion"):
        train(tone_corpus, emobank, tmp_path / "again", f"emotion_run={run.run_folder.path}")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one(kept: bool, tone_corpus: Path, emobank: Path, tmp_path: Path) -> None:
    options = ("trainer.max_epochs=3", "module.average_decay=0.9", f"hidden_states.enabled={kept}")
    witness = "+callbacks.witness={_target_: tests.training_runs.Witness"
    whole = train(tone_corpus, emobank, tmp_path / "whole", *options)
    with pytest.raises(RuntimeError, match="killed"):
        train(tone_corpus, emobank, tmp_path / "stopped", *options, f"{witness}, kill_at: [1, 1]}}")
    resumed = train(tone_corpus, emobank, tmp_path / "stopped", *options)
    assert same(weights(whole), weights(resumed))
    assert whole.metrics == resumed.metrics


KEPT = ("hidden_states.enabled=true", "model.reads_top=false", "model.recompute=true")


@pytest.mark.slow
@pytest.mark.parametrize(("dense", "options", "kill"), [(False, (), True), (True, (), False), (False, KEPT, False)])
def test_processes_that_share_layers_train_what_others_do(
    dense: bool, options: tuple[str, ...], kill: bool, tone_corpus: Path, emobank: Path, tmp_path: Path
) -> None:
    options = ("trainer.max_epochs=2", "module.average_decay=0.9", *options, *(DENSE if dense else ()))
    whole, shared = (
        ["trainer.devices=2", *overrides(tone_corpus, emobank, tmp_path / name, *options)] for name in "ab"
    )
    run_command("trainer=ddp_cpu", *whole)
    if kill:
        witness = "+callbacks.witness={_target_: tests.training_runs.Witness, kill_at: [1, 1]}"
        with pytest.raises(subprocess.CalledProcessError) as killed:
            run_command("trainer=fsdp_cpu", *shared, witness)
        assert "RuntimeError: killed" in killed.value.stderr
    run_command("trainer=fsdp_cpu", *shared)
    runs = [RunFolder(tmp_path / name / "run") for name in "ab"]
    saved = [torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in runs]
    assert same(*saved)
    assert all(name.startswith(("network.adapter.", "network.heads.")) for name in saved[1])
    assert runs[0].read_metrics() == runs[1].read_metrics()
    assert {"train/loss", "validation/ccc", "test/ccc"} <= runs[1].read_metrics().keys()


@pytest.mark.slow
def test_an_emotion_model_that_knows_a_held_out_speaker_is_refused(
    tone_corpus: Path, emobank: Path, tmp_path: Path
) -> None:
    parts = ("datamodule.split.fractions={validation: 0.25, test: 0.25}", "datamodule.split.seed=0")
    emotion = fit(compose_tiny(tone_corpus, tmp_path, "trainer.max_epochs=1", "trainer.limit_train_batches=1", *parts))
    with pytest.raises(FusionTaskError, match=r"was trained on 1 speakers who are held out here \(t\d\)"):
        train(tone_corpus, emobank, tmp_path / "fusion", f"emotion_run={emotion.run_folder.path}")


@pytest.mark.slow
def test_danger_in_a_voice_is_never_less_than_in_the_words_once_trained(
    tone_corpus: Path, emobank: Path, tmp_path: Path
) -> None:
    run = train(
        tone_corpus, emobank, tmp_path, "trainer.limit_train_batches=null", "module.head_learning_rate=0.03",
        "datamodule.sources.crisis.clips_per_text=2", experiment="fusion_reading",
    )  # fmt: skip
    judged = load_judged(run.run_folder, torch.device("cpu"))
    assert "crisis" in judged.module.network.state_scores
    clips = [row.clip for row in judged.data.rows if row.split == "test" and row.clip is not None]
    texts = CrisisSuite().read()
    words = judged.with_rows(texts).judge(range(len(texts))).scores
    assert words["crisis"].std() > 0.01
    for clip in clips[:3]:
        heard = judged.with_rows([replace(row, clip=clip) for row in texts]).judge(range(len(texts))).scores
        assert (heard["crisis"] >= words["crisis"]).all()
        assert abs(heard["valence"] - words["valence"]).max() > 0.01


def test_a_suite_without_a_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match=r"suite\.runs\.fused=DIR"):
        evaluate_configured(compose_suite(tmp_path))
