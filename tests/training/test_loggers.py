"""What trackers are told of a run. Weights & Biases runs offline: nothing leaves the machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from pixel_mm.train import fit
from tests.training_runs import compose_tiny


@pytest.fixture
def short(tone_corpus: Path, tmp_path: Path) -> Any:
    def make(name: str, *overrides: str) -> Any:
        return compose_tiny(tone_corpus, tmp_path / name, "trainer.max_epochs=1", "worst_clips=2", *overrides)

    return make


CURVES = "{_target_: pixel_mm.training.callbacks.LearningCurves, path: '${paths.run}/figures/c.png'}"


@pytest.mark.slow
def test_wandb_gets_all_of_it_and_each_run_its_own(short: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    key = b"0123456789" * 4
    monkeypatch.setenv("WANDB_API_KEY", key.decode())
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))  # where what a table holds waits for its upload
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    runs = [fit(short(name, "logger=wandb", f"callbacks.learning_curves={CURVES}")).run_folder for name in ("a", "b")]
    wandb.teardown()  # ends the process that writes
    records = [record for run in runs for record in run.path.glob("wandb/offline-run-*/*.wandb")]
    assert len({record.stem for record in records}) == 2
    for run, record in zip(runs, records, strict=True):
        content = record.read_bytes()
        for told in (b"validation/loss", b"test/ua", b"head_learning_rate", b"model-", b"best.ckpt"):
            assert told in content, told
        assert list(record.parent.glob("files/media/images/figures/*.png"))
        (table,) = record.parent.glob("files/media/table/worst_clips*.json")
        assert len(json.loads(table.read_text())["data"]) == 2
        assert all(key not in file.read_bytes() for file in run.path.rglob("*") if file.is_file())
    waiting = [file.read_bytes()[:4] for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert waiting.count(b"RIFF") == 4  # the clips' audio, for the upload


def test_tensorboard_gets_metrics_and_figures(short: Any) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(short("a", "logger=tensorboard", f"callbacks.learning_curves={CURVES}")).run_folder
    told = EventAccumulator(str(run.path / "tensorboard" / "version_0"))
    told.Reload()
    assert {"validation/loss", "test/loss"} <= set(told.Tags()["scalars"])
    assert told.Tags()["images"] == ["c"]
