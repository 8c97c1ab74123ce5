import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig

from pixel_mm import cli, train
from pixel_mm.cli import USER_ERROR
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.runs import RunError, RunFolder
from pixel_mm.train import TrainError, fit
from tests.training_runs import Witness, compose_tiny, same, tiny_overrides, weights

WITNESS = "+callbacks.witness={_target_: tests.training_runs.Witness"


@pytest.fixture
def tiny(tone_corpus: Path, tmp_path: Path) -> Any:
    """Composes a tiny training below a folder of `tmp_path`."""

    def make(name: str, *overrides: str) -> DictConfig:
        return compose_tiny(tone_corpus, tmp_path / name, *overrides)

    return make


def test_a_run_folder_holds_what_is_needed_to_judge_and_use_the_run(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("SOME_NAME", "0123456789abcdef")  # reaches the configuration under another name
    result = fit(tiny("a", "+note=${oc.env:SOME_NAME}", "+logger.csv.prefix=''"))
    run = result.run_folder
    config = yaml.safe_load(run.config.read_text())
    assert config["seed"] == 1
    assert config["datamodule"]["seed"] == 1  # resolved
    assert config["note"] == "***"
    for file in run.path.rglob("*"):
        assert file.is_dir() or b"0123456789abcdef" not in file.read_bytes()
    assert json.loads(run.environment.read_text())["versions"]["torch"]
    metrics = json.loads(run.metrics.read_text())
    assert metrics == result.metrics
    assert {"train/loss", "validation/loss", "test/loss"} <= metrics.keys()
    assert all(math.isfinite(value) for value in metrics.values())
    assert run.last_checkpoint.is_file()
    assert run.best_checkpoint.is_file()
    assert json.loads(run.bad_clips.read_text()) == {}
    assert (run.path / "csv" / "version_0" / "metrics.csv").is_file()
    assert [path.name for path in run.path.rglob("*partial*")] == []


def test_one_seed_gives_one_result(tiny: Any) -> None:
    options = ("trainer.max_epochs=1", "test=false")
    first, again, other = (weights(fit(tiny(n, f"seed={s}", *options))) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    ("adaptation", "kill_at"),
    [
        ("full", (2, 1)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("full", (1, 0)), ("frozen", (2, 1)))),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(tiny: Any, adaptation: str, kill_at: tuple[int, int]) -> None:
    # Everything random is on: dropout, masks, augmentation. The average of the weights goes on, too.
    random = ("model.dropout=0.3", "encoder.mask.num_bands=2", "augment=light", "augment.variants=2")
    options = (f"adaptation={adaptation}", *random, "module.average_decay=0.9", "trainer.max_epochs=3")
    Witness.seen.clear()
    whole = fit(tiny("whole", *options, f"{WITNESS}}}"))
    expected = list(Witness.seen)
    Witness.seen.clear()
    with pytest.raises(RuntimeError, match="killed"):
        fit(tiny("stopped", *options, f"{WITNESS}, kill_at: {list(kill_at)}}}"))
    before = [place for place in Witness.seen if place[0] < kill_at[0]]
    Witness.seen.clear()
    resumed = fit(tiny("stopped", *options, f"{WITNESS}}}"))
    assert before + Witness.seen == expected
    assert same(weights(whole), weights(resumed))
    assert whole.metrics == resumed.metrics


def test_an_interrupted_run_stops_everything_and_goes_on_later(tiny: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tiny("a", f"{WITNESS}, kill_at: [1, 0], by_keyboard: true}}"))
    cfg = tiny("a", f"{WITNESS}}}")
    assert RunFolder(Path(cfg.paths.run)).last_checkpoint.is_file()
    Witness.seen.clear()
    fit(cfg)
    assert Witness.seen[0][:2] == (1, 0)


@pytest.mark.slow
def test_resume_starts_anew_when_told_to(tiny: Any) -> None:
    first = fit(tiny("a"))
    Witness.seen.clear()
    fit(tiny("a", f"{WITNESS}}}"))
    assert Witness.seen == []  # it was finished
    again = fit(tiny("a", "resume=null", f"{WITNESS}}}"))
    assert len(Witness.seen) > 0
    assert same(weights(first), weights(again))
    with pytest.raises(RuntimeError, match="killed"):
        fit(tiny("a", "resume=null", f"{WITNESS}, kill_at: [0, 0]}}"))
    run = again.run_folder  # what it holds now is of the run that was killed: nothing
    assert not run.metrics.exists()
    with pytest.raises(RunError, match="no checkpoint"):
        run.find_checkpoint()


@pytest.mark.parametrize("option", ["trainer.max_epochs=0", "trainer.limit_train_batches=0"])
def test_a_run_that_trains_nothing_is_refused(tiny: Any, option: str) -> None:
    cfg = tiny("a", option)
    with pytest.raises(TrainError, match="not one step"):
        fit(cfg)
    assert not RunFolder(Path(cfg.paths.run)).metrics.exists()


def test_a_split_without_training_clips_is_refused(tiny: Any) -> None:
    from hydra.utils import instantiate

    cfg = tiny("a")
    datamodule = instantiate(cfg.datamodule)
    datamodule.setup()
    datamodule.use_split([], [], list(range(len(datamodule.utterances))))
    with pytest.raises(TrainError, match="training part"):
        fit(cfg, datamodule)


def test_a_loss_that_is_not_a_number_is_refused(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = EmotionRegressor.forward

    def broken(self: EmotionRegressor, *arguments: Any, **named: Any) -> Any:
        output = forward(self, *arguments, **named)
        return output._replace(scores=output.scores * float("nan"), emotion_logits=output.emotion_logits * float("nan"))

    monkeypatch.setattr(EmotionRegressor, "forward", broken)
    with pytest.raises(ValueError, match="diverged"):
        fit(tiny("a", "adaptation=full", "trainer.max_epochs=1"))


def test_folds_share_a_data_module_and_need_no_validation_part(tiny: Any) -> None:
    from hydra.utils import instantiate

    cfg = tiny("fold0", "trainer.max_epochs=1")
    datamodule = instantiate(cfg.datamodule)
    datamodule.setup()
    speakers = [utterance.speaker for utterance in datamodule.utterances]
    for number, held_out in enumerate(("t1", "t2")):
        cfg = tiny(f"fold{number}", "trainer.max_epochs=1")
        rows = range(len(speakers))
        datamodule.use_split(
            [r for r in rows if speakers[r] != held_out], [], [r for r in rows if speakers[r] == held_out]
        )
        result = fit(cfg, datamodule)
        assert result.run_folder.last_checkpoint.is_file()
        assert not result.run_folder.best_checkpoint.exists()
        assert "test/loss" in result.metrics
        assert "validation/loss" not in result.metrics


def test_a_frozen_trunk_runs_once_per_clip_and_changes_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    trunk = EmotionRegressor.trunk

    def counted(self: EmotionRegressor, waveform: torch.Tensor, *others: Any) -> Any:
        runs.append(len(waveform))
        return trunk(self, waveform, *others)

    monkeypatch.setattr(EmotionRegressor, "trunk", counted)
    options = ("adaptation=frozen", "augment=none", "trunk_cache.dtype=float32")
    cached = fit(tiny("a", *options))
    assert sum(runs) == 24
    again = fit(tiny("a", *options, "resume=null"))
    assert sum(runs) == 24
    plain = fit(tiny("a", *options, "resume=null", "trunk_cache.enabled=false"))
    assert same(weights(cached), weights(again))
    assert cached.metrics == pytest.approx(plain.metrics, abs=1e-4)


@pytest.mark.slow
def test_a_model_that_can_learn_overfits_a_few_clips(tiny: Any) -> None:
    rates = ("module.encoder_learning_rate=3e-3", "module.head_learning_rate=1e-2", "module.losses.label_smoothing=0")
    options = ("debug=overfit", "adaptation=full", "model.dropout=0", *rates)
    first = fit(tiny("a", *options, "trainer.max_epochs=1"))
    last = fit(tiny("b", *options, "trainer.max_epochs=30"))
    assert last.metrics["train/loss"] < 0.3 * first.metrics["train/loss"]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["pixel_mm.train", *arguments])
    cli.run(train.main, "train")


def test_the_command_trains_into_its_run_folder(
    tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["encoder=whisper_micro_random", "trainer.max_epochs=2"]
    command(monkeypatch, *options, *tiny_overrides(tone_corpus, tmp_path))
    run = RunFolder(tmp_path / "run")
    assert "test/loss" in run.read_metrics()
    assert run.load_config().paths.run == str(run.path)
    assert (run.figures / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["experiment=emotio"], "emotion"),
        (["data=emodbb"], "emodb"),
        (["encoder=whisper_huge"], "whisper_base"),
        (["data=emodb"], "data.root=VALUE"),
        (["data=emodb", "data.root=/nonexistent"], "/nonexistent"),
        (["data=manifest", "data.root=/nonexistent", "resume=/nonexistent"], "/nonexistent does not exist"),
    ],
)
def test_a_mistake_ends_in_one_message(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        command(monkeypatch, *arguments, f"paths.run={tmp_path / 'run'}")
    assert left.value.code == USER_ERROR
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
