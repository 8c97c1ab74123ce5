"""What a trainer does besides training: seeds every batch, draws learning curves, writes checkpoints whole."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.plugins.io import TorchCheckpointIO

from pixel_mm.runs import atomic_path

PARTS = {"train": "C0", "validation": "C1"}
"""Parts whose metrics are drawn, and their colours."""


class DivergedError(ValueError):
    """A training that went wrong in a way that more training will not mend."""


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


class RefuseDivergence(pl.Callback):
    """End a run whose loss is not a number: it would go on, cost hours and look like a success."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss.

        Raises:
            DivergedError: NaN or infinity.
        """
        if not torch.isfinite(outputs["loss"]):
            raise DivergedError(
                f"training has diverged: the loss of batch {batch_idx} of epoch {trainer.current_epoch} is "
                f"{float(outputs['loss'])}; lower the learning rate, or look for a bad label or clip with debug=default"
            )


class LearningCurves(pl.Callback):
    """Keep the metrics of every epoch and draw them in the end: a panel per quantity, a line per part.

    Attributes:
        history: values by metric and epoch, e.g. `history["validation/loss"][3]`. Kept in checkpoints.
    """

    def __init__(self, path: str | Path) -> None:
        """Take the picture's path."""
        self.path = Path(path)
        self.history: dict[str, dict[int, float]] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take down what was logged in this epoch."""
        for name, value in trainer.callback_metrics.items():
            if name.partition("/")[0] in PARTS:
                self.history.setdefault(name, {})[trainer.current_epoch] = float(value)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the figure, once per run."""
        if trainer.is_global_zero and self.history and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with atomic_path(self.path) as aside:
                self.draw().savefig(aside, dpi=100)

    def draw(self) -> Figure:
        """The figure: values over epochs, counted from 1."""
        quantities = sorted({name.partition("/")[2] for name in self.history}, key=lambda name: (name != "loss", name))
        columns = min(3, len(quantities))
        rows = math.ceil(len(quantities) / columns)
        figure = Figure(figsize=(3.6 * columns, 2.7 * rows))
        figure.subplots_adjust(0.08, 0.6 / (2.7 * rows), 0.98, 1 - 0.3 / (2.7 * rows), wspace=0.3, hspace=0.4)
        for number, quantity in enumerate(quantities, start=1):
            axes = figure.add_subplot(rows, columns, number)
            for part, colour in PARTS.items():
                points = self.history.get(f"{part}/{quantity}", {})
                axes.plot([epoch + 1 for epoch in points], list(points.values()), ".-", color=colour, label=part)
            axes.set_title(quantity, fontsize="medium")
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize="small")
        figure.text(0.5, 0.01, "epoch", ha="center")
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
