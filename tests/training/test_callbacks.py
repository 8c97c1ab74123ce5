import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixel_mm.training.callbacks import (
    AtomicCheckpoints,
    DivergedError,
    LearningCurves,
    RefuseDivergence,
    ReseedEachBatch,
)


def trainer(**values: Any) -> Any:
    return SimpleNamespace(
        **{"current_epoch": 0, "global_rank": 0, "is_global_zero": True, "callback_metrics": {}} | values
    )


def drawn(seed: int, epoch: int, batch: int, rank: int) -> float:
    ReseedEachBatch(seed).on_train_batch_start(trainer(current_epoch=epoch, global_rank=rank), None, None, batch)  # type: ignore[arg-type]
    return float(torch.rand(()))


def test_random_numbers_depend_on_seed_epoch_batch_and_rank_alone() -> None:
    places = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    first = [drawn(*place) for place in places]
    assert len(set(first)) == len(places)
    assert [drawn(*place) for place in reversed(places)] == first[::-1]


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_a_loss_that_is_not_a_number_ends_the_run(loss: str) -> None:
    callback = RefuseDivergence()
    callback.on_train_batch_end(trainer(), None, {"loss": torch.tensor(1.0)}, None, 0)  # type: ignore[arg-type]
    with pytest.raises(DivergedError, match=f"batch 4 of epoch 3 is {loss}"):
        callback.on_train_batch_end(trainer(current_epoch=3), None, {"loss": torch.tensor(float(loss))}, None, 4)  # type: ignore[arg-type]


def test_curves_go_on_after_a_resume(tmp_path: Path) -> None:
    curves = LearningCurves(tmp_path / "a.png")
    for epoch in range(2):
        metrics = {"train/loss": torch.tensor(2.0 - epoch), "validation/ua": 0.5, "lr": 1.0}
        curves.on_train_epoch_end(trainer(current_epoch=epoch, callback_metrics=metrics), None)  # type: ignore[arg-type]
    resumed = LearningCurves(tmp_path / "b.png")
    resumed.load_state_dict(curves.state_dict())
    resumed.on_train_epoch_end(trainer(current_epoch=2, callback_metrics={"train/loss": 0.5}), None)  # type: ignore[arg-type]
    assert resumed.history == {"train/loss": {0: 2.0, 1: 1.0, 2: 0.5}, "validation/ua": {0: 0.5, 1: 0.5}}
    loss, ua = resumed.draw().axes
    assert (loss.get_title(), ua.get_title()) == ("loss", "ua")
    assert list(loss.get_lines()[0].get_xdata()) == [1, 2, 3]
    assert list(loss.get_lines()[0].get_ydata()) == [2.0, 1.0, 0.5]


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    checkpoints = AtomicCheckpoints()
    checkpoints.save_checkpoint({"epoch": 1}, path)
    write = Path.write_bytes

    def fill_the_disk(self: Path, data: bytes) -> int:
        write(self, bytes(data)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save_checkpoint({"epoch": 2}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert checkpoints.load_checkpoint(path) == {"epoch": 1}
