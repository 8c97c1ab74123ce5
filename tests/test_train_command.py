"""The train command as people start it: every experiment, debugging, sweeps, launchers, several processes."""

import re
from pathlib import Path

import pytest
import torch

from pixel_mm import cli, train
from pixel_mm.cli import CONFIG_DIR, USER_ERROR
from pixel_mm.runs import RunFolder
from pixel_mm.train import fit
from tests.training_runs import compose_tiny, compose_train, run_command, tiny_overrides

# Tones have neither transcripts nor texts: these experiments are run on corpora of their own, there.
ELSEWHERE = {
    "speech_recognition": "test_train_recognition.py",
    "fusion": "test_train_fusion.py",
    "fusion_reading": "test_train_fusion.py",
}
ALL_EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))
EXPERIMENTS = [name for name in ALL_EXPERIMENTS if name not in ELSEWHERE]
RECOGNITION = [name for name in EXPERIMENTS if "/recognizer:" in (CONFIG_DIR / f"experiment/{name}.yaml").read_text()]
# An experiment's own encoder, with as many layers, but narrow and untrained.
NARROW = (
    *("encoder.pretrained_weights=false", "encoder.hidden_size=32", "encoder.num_heads=2"),
    "encoder.feed_forward_size=64",
)
SMALL = ["encoder=whisper_micro_random", "trainer.max_epochs=1", "callbacks.learning_curves=null"]


def start(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["pixel_mm.train", *arguments])
    cli.run(train.main, "train")


@pytest.mark.parametrize(
    ("experiment", "options"),
    [
        *((name, NARROW) for name in EXPERIMENTS if name not in RECOGNITION),
        # Its tokenizer is a published one.
        *(pytest.param(name, ("recognizer=whisper_micro_random",), marks=pytest.mark.weights) for name in RECOGNITION),
    ],
)
def test_every_experiment_runs(experiment: str, options: tuple[str, ...], tone_corpus: Path, tmp_path: Path) -> None:
    fast = ("debug=fdr", "augment.variants=1", "datamodule.split.fractions={validation: 0.25, test: 0.25}")
    result = fit(compose_train(*tiny_overrides(tone_corpus, tmp_path), f"experiment={experiment}", *fast, *options))
    assert {"train/loss", "validation/loss", "test/loss"} <= result.metrics.keys()
    assert not result.run_folder.last_checkpoint.exists()


@pytest.mark.parametrize(("experiment", "file"), ELSEWHERE.items())
def test_experiments_that_need_texts_are_run_elsewhere(experiment: str, file: str) -> None:
    assert experiment in ALL_EXPERIMENTS
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    assert re.search(rf'experiment\W.*\b{experiment}"', text)


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["default", "profile"])
def test_debugging_runs(debug: str, tone_corpus: Path, tmp_path: Path) -> None:
    result = fit(compose_tiny(tone_corpus, tmp_path, f"debug={debug}"))
    assert "test/loss" in result.metrics


@pytest.mark.slow
def test_each_run_of_a_sweep_has_its_folder(tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "-m", *SMALL, *tiny_overrides(tone_corpus, tmp_path), f"paths.runs={tmp_path}", "seed=1,2")
    (sweep,) = (tmp_path / "train").glob("sweep_*")
    runs = [RunFolder(sweep / number) for number in ("0", "1")]
    assert [run.load_config().seed for run in runs] == [1, 2]
    assert runs[0].read_metrics() != runs[1].read_metrics()


@pytest.mark.slow
def test_a_search_minimises_the_validation_loss(
    tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    options = ["hparams_search=emotion_optuna", "hydra.sweeper.n_trials=2", f"paths.runs={tmp_path}", "test=false"]
    start(monkeypatch, "-m", *SMALL, *tiny_overrides(tone_corpus, tmp_path), *options)
    (results,) = tmp_path.rglob("optimization_results.yaml")
    losses = [RunFolder(results.parent / number).read_metrics()["validation/loss"] for number in ("0", "1")]
    assert f"best_value: {min(losses)}" in results.read_text()


@pytest.mark.parametrize("trainer", ["ddp_cpu", "fsdp_cpu"])
def test_a_sweep_of_distributed_runs_asks_for_a_launcher(
    trainer: str, tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    places = [*tiny_overrides(tone_corpus, tmp_path), f"paths.runs={tmp_path}"]
    options = [*SMALL, *places, f"trainer={trainer}", "seed=1,2"]
    with pytest.raises(SystemExit) as left:
        start(monkeypatch, "-m", *options)
    assert left.value.code == USER_ERROR
    assert "launcher=local" in capsys.readouterr().err


@pytest.mark.slow
def test_the_local_launcher_runs_a_sweep_in_processes_of_its_own(tone_corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    run_command(
        "-m", "launcher=local", *SMALL, *tiny_overrides(tone_corpus, tmp_path), f"paths.runs={tmp_path}", "seed=1"
    )
    (metrics,) = (tmp_path / "train").glob("sweep_*/0/metrics.json")
    assert "test/loss" in RunFolder(metrics.parent).read_metrics()


@pytest.mark.slow
@pytest.mark.parametrize("adaptation", ["full", "frozen"])
def test_two_processes_train_what_one_does(adaptation: str, tone_corpus: Path, tmp_path: Path) -> None:
    # What each rank would draw for itself is off.
    options = [f"adaptation={adaptation}", "model.dropout=0", "trainer.max_epochs=3", "encoder.mask.num_bands=2"]
    # The default would blow up rounding errors where a gradient is zero, as that of a bias before a softmax is.
    options += ["+module.optimizer.eps=1e-3", "augment.variants=2", "trunk_cache.dtype=float32"]
    one = fit(compose_tiny(tone_corpus, tmp_path / "one", *options))
    two = RunFolder(tmp_path / "two" / "run")
    batching = "datamodule.batching.max_clips_per_batch=6"
    places = tiny_overrides(tone_corpus, tmp_path / "two")
    run_command("trainer=ddp_cpu", *SMALL, batching, *places, *options)
    assert two.read_metrics() == pytest.approx(one.metrics, abs=1e-5)
    weights = [torch.load(run.last_checkpoint)["state_dict"] for run in (one.run_folder, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(
            weights[1][name], tensor, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )
