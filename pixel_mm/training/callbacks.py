"""What a trainer does besides training: seeds every batch, draws learning curves, writes checkpoints whole."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.plugins.io import TorchCheckpointIO

from pixel_mm.runs import atomic_path

PARTS = ("train", "validation")


class ReseedEachBatch(pl.Callback):
    """Give every training batch random numbers that depend on the seed, the step and the rank alone.

    Dropout and masks of a resumed run are then those of an uninterrupted one, whatever was drawn in between.
    """

    def __init__(self, seed: int) -> None:
        """Take the run's seed, 0 or more."""
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch's generators, of the processor and of all GPUs."""
        key = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


class LearningCurves(pl.Callback):
    """Keep the metrics of every epoch and draw one figure per quantity: train and validation over epochs.

    Attributes:
        history: values by metric and epoch, e.g. `history["validation/loss"][3]`. Kept in checkpoints.
    """

    def __init__(self, folder: str | Path) -> None:
        """Take the folder that the figures go to, as PNG."""
        self.folder = Path(folder)
        self.history: dict[str, dict[int, float]] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take down what was logged in this epoch."""
        for name, value in trainer.callback_metrics.items():
            if name.partition("/")[0] in PARTS:
                self.history.setdefault(name, {})[trainer.current_epoch] = float(value)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the figures, once per run."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for quantity in sorted({name.partition("/")[2] for name in self.history}):
            with atomic_path(self.folder / f"{quantity.replace('/', '_')}.png") as aside:
                self.draw(quantity).savefig(aside, dpi=120)

    def draw(self, quantity: str) -> Figure:
        """Figure of one quantity, e.g. "loss": its value over epochs, one line per part that has it."""
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axes = figure.subplots()
        for part in PARTS:
            if points := self.history.get(f"{part}/{quantity}"):
                axes.plot([epoch + 1 for epoch in points], list(points.values()), marker="o", markersize=3, label=part)
        axes.set(xlabel="epoch", ylabel=quantity, title=f"{quantity} while training")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure

    def state_dict(self) -> dict[str, Any]:
        """History so far, so that a resumed run draws whole curves."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's history."""
        self.history = state_dict["history"]


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, on any file system and on a full disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it does not fit on the disk; what was at `path` is still there.
        """
        # torch.save on a file turns "no space left" into an error that does not say so.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as aside:
            aside.write_bytes(buffer.getbuffer())
