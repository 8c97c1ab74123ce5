"""The evaluate command from composed configuration to report, on tones and a random encoder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.evaluate import EvaluateError, check_behaviour, evaluate, train_network
from pixel_mm.evaluation.folds import EvaluationChangedError
from pixel_mm.evaluation.protocols import ProtocolError
from tests.tiny_emotion import TinyRegressor, publish_tiny
from tests.tone_corpus import TONE_EMOTIONS, TONE_SPEAKERS, write_tone_corpus
from tests.training_runs import tiny_overrides

SHORT = ("encoder=whisper_micro_random", "trainer.max_epochs=2", "datamodule.batching.max_clips_per_batch=6")


def compose_evaluate(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("evaluate", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # the run folder's name has the choices in it
    del cfg.hydra  # read only while composing
    return cfg


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus", clips_per_emotion=2)


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """Drawing takes longer than all the rest; one test looks at the figures."""
    monkeypatch.setattr("pixel_mm.reports.emotion_report.save_figure", lambda figure, path: None)


class Peeking:
    """A trainer that takes down which speakers it was given, and gives an untrained network; may be interrupted."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.given: list[set[str]] = []
        self.stop_after = stop_after

    def __call__(self, cfg, data):
        if len(self.given) == self.stop_after:
            raise KeyboardInterrupt
        parts = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
        rows = {row for part in parts for batch in part for row in batch.index.tolist()}
        self.given.append({data.utterances[row].speaker for row in rows})
        network = TinyRegressor()
        network.emotion_labels = data.emotion_labels[:4]
        return network


def test_every_fold_is_trained_without_its_speaker_and_reported(corpus, tmp_path):
    trainer = Peeking()
    cfg = compose_evaluate(*tiny_overrides(corpus, tmp_path))
    metrics = evaluate(cfg, trainer)
    everybody = set(TONE_SPEAKERS)
    assert trainer.given == [everybody - {speaker} for speaker in sorted(everybody)]
    stored = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert stored == metrics
    assert stored["protocol"] == "leave_one_speaker_out"
    assert (stored["num_clips"], stored["num_speakers"], stored["seeds"]) == (48, 4, [1])
    for measure in ("arousal", "valence", "emotion"):
        assert set(stored["scores"][measure]) == {"ua", "accuracy", "majority", "ci95"}
        low, high = stored["scores"][measure]["ci95"]
        assert 0 <= low <= high <= 1
    assert set(stored["ccc"]) == {"valence", "arousal", "dominance", "label_source"}
    assert stored["ccc"]["label_source"] == "mapped"
    assert set(stored["per_speaker"]) == everybody
    assert set(stored["per_class"]) == set(TONE_EMOTIONS)
    assert set(stored["baselines"]["loudness_only"]["scores"]) == {"arousal", "valence", "emotion"}
    assert stored["scores"]["arousal"]["majority"] == 0.5
    report = tmp_path / "run" / "report"
    assert {path.name for path in (report / "figures").iterdir()} == {"plane.png", "confusion.png", "speakers.png"}
    assert "4 of 4 folds" in (report / "report.md").read_text()
    assert (tmp_path / "run" / "environment.json").is_file()
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").protocol.seed == 0


@pytest.mark.usefixtures("no_figures")
def test_interrupted_it_goes_on_and_another_configuration_is_refused(corpus, tmp_path):
    options = tiny_overrides(corpus, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        evaluate(compose_evaluate(*options), Peeking(stop_after=2))
    assert not (tmp_path / "run" / "report").exists()
    with pytest.raises(EvaluationChangedError, match=r"module\.head_learning_rate"):
        evaluate(compose_evaluate(*options, "module.head_learning_rate=0.5"), Peeking())
    trainer = Peeking()
    assert evaluate(compose_evaluate(*options), trainer)["num_speakers"] == 4
    assert len(trainer.given) == 2


@pytest.mark.usefixtures("no_figures")
def test_some_folds_with_two_seeds(corpus, tmp_path):
    trainer = Peeking()
    options = (*tiny_overrides(corpus, tmp_path), "protocol.folds=[0,3]", "seeds=[1,5]")
    metrics = evaluate(compose_evaluate(*options), trainer)
    assert (metrics["folds"], metrics["seeds"]) == ({"run": [0, 3], "of": 4}, [1, 5])
    assert (metrics["num_clips"], len(trainer.given)) == (24, 4)
    with pytest.raises(ProtocolError, match="0 to 3"):
        evaluate(compose_evaluate(*options[:-2], "protocol.folds=[4]"), trainer)


@pytest.mark.parametrize(
    ("options", "num_folds"),
    [(("protocol=k_fold", "protocol.num_folds=2"), 2), (("protocol=hold_out", "protocol.test_share=0.25"), 1)],
)
@pytest.mark.usefixtures("no_figures")
def test_other_protocols(corpus, tmp_path, options, num_folds):
    trainer = Peeking()
    metrics = evaluate(compose_evaluate(*tiny_overrides(corpus, tmp_path), *options), trainer)
    assert metrics["protocol"] == options[0].removeprefix("protocol=")
    assert len(trainer.given) == num_folds


@pytest.mark.usefixtures("no_figures")
def test_cross_corpus_trains_on_one_and_tests_on_the_other(corpus, tmp_path):
    other = write_tone_corpus(tmp_path / "other", seed=1)
    trainer = Peeking()
    options = [*tiny_overrides(corpus, tmp_path), "protocol=cross_corpus"]
    pair = ["data@test_data=manifest", "test_data.label_source=mapped", f"test_data.root={other / 'manifest.csv'}"]
    with pytest.raises(EvaluateError, match="test_data"):
        evaluate(compose_evaluate(*options), trainer)
    # Two tables are both called a manifest, and their speakers by the same names: told apart by nothing, refused.
    with pytest.raises(ValueError, match="shares 4 speakers"):
        evaluate(compose_evaluate(*options, *pair), trainer)
    assert trainer.given == []


@pytest.mark.parametrize("logger", ["csv", "tensorboard", pytest.param("wandb", marks=pytest.mark.slow)])
def test_the_report_goes_to_the_trackers(corpus, tmp_path, monkeypatch, logger):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    options = (*tiny_overrides(corpus, tmp_path), f"logger={logger}", "protocol.folds=[0]", "worst_clips=2")
    evaluate(compose_evaluate(*options), Peeking())
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    if logger == "csv":
        (path,) = (path for path in written if path.name == "metrics.csv")
        header = path.read_text().splitlines()[0].split(",")
        assert {"evaluation/emotion_ua", "evaluation/valence_ccc_mapped", "evaluation/arousal_majority"} <= set(header)
    elif logger == "tensorboard":
        (path,) = (path for path in written if path.name.startswith("events.out"))
        assert path.stat().st_size > 20_000  # the figures are in it
    else:
        media = [path for path in written if "media" in path.parts]
        assert sum(path.suffix == ".png" for path in media) == 3
        (shown,) = (json.loads(path.read_text()) for path in media if path.name.endswith(".table.json"))
        assert shown["columns"][:2] == ["audio", "clip"]
        assert [row[0] for row in shown["data"]] == ["Audio", "Audio"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_real_training_in_every_fold(corpus, tmp_path):
    cfg = compose_evaluate(
        *SHORT, *tiny_overrides(corpus, tmp_path), "protocol.folds=[1]", "protocol.validation_speakers=1"
    )
    metrics = evaluate(cfg, train_network)
    assert metrics["num_clips"] == 12
    fold = tmp_path / "run" / "folds" / "01"
    assert {path.name for path in fold.iterdir()} >= {"predictions.csv", "config.yaml", "metrics.json"}
    assert not (fold / "checkpoints").exists()
    assert OmegaConf.load(fold / "config.yaml").paths.run == str(fold)


@pytest.mark.slow
def test_behaviour_of_a_model_folder(corpus, tmp_path):
    model = publish_tiny(tmp_path / "model")
    cfg = compose_evaluate(*tiny_overrides(corpus, tmp_path), "suite=emotion_behaviour")
    with pytest.raises(EvaluateError, match="model_folder=DIR"):
        check_behaviour(cfg)
    cfg.model_folder = str(model)
    passed = check_behaviour(cfg)
    findings = json.loads((tmp_path / "run" / "report" / "behaviour.json").read_text())
    assert passed == all(check["passed"] is not False for check in findings["checks"])
    assert findings["num_clips"] == 48
    assert "## Robustness" in (tmp_path / "run" / "report" / "report.md").read_text()


@pytest.mark.slow
def test_the_command(corpus, tmp_path):
    places = [f"data.root={corpus / 'manifest.csv'}", f"paths.runs={tmp_path}", f"paths.cache={tmp_path / 'cache'}"]
    options = [
        *SHORT,
        "data=manifest",
        "data.label_source=mapped",
        *places,
        "trainer.accelerator=cpu",
        "protocol.folds=[0]",
    ]

    def start(*more):
        command = [sys.executable, "-m", "pixel_mm.evaluate", *options, *more]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])

    done = start()
    assert done.returncode == 0, done.stderr
    run = tmp_path / "train" / "evaluate_manifest_leave_one_speaker_out"
    assert (run / "report" / "report.md").is_file()
    changed = start("trainer.max_epochs=3")
    assert changed.returncode == 2
    assert "trainer.max_epochs: 2 -> 3" in changed.stderr
    assert "Traceback" not in changed.stderr
    unknown = start("protocol=nonsense")
    assert unknown.returncode == 2
    assert "leave_one_speaker_out" in unknown.stderr
