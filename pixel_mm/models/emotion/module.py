"""The emotion regressor in Lightning: batches to losses and logs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.models.emotion.losses import EmotionLoss
from pixel_mm.models.emotion.measures import measure
from pixel_mm.models.emotion.network import EmotionOutput, EmotionRegressor
from pixel_mm.models.gather import gather_rows
from pixel_mm.models.task_module import TaskModule


class EmotionModule(TaskModule):
    """Trains an `EmotionRegressor`. Logs `PART/loss`, its terms, and on whole parts the measures of `measure`.

    A batch has `ratings`, `emotion`, and either `waveform`, `num_samples`, `mask_seeds` or a trunk's `states`,
    `num_frames`. Losses are of the whole batch, over all devices.
    """

    network: EmotionRegressor

    def __init__(
        self,
        network: EmotionRegressor,
        losses: EmotionLoss,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        head_learning_rate: float = 1e-3,
        encoder_learning_rate: float = 5e-5,
        average_decay: float | None = None,
    ) -> None:
        """Take the parts.

        Args:
            network: adapted: what is frozen now stays frozen.
            losses: of scores and logits.
            optimizer: makes one from parameter groups.
            scheduler: makes one from the optimiser and `total_steps`; None keeps the rates.
            head_learning_rate: of what begins with random weights.
            encoder_learning_rate: of the encoder.
            average_decay: of the running average of weights that is validated, saved and used; None averages nothing.
        """
        super().__init__(network, optimizer, scheduler, head_learning_rate, encoder_learning_rate, average_decay)
        self.losses = losses
        self._seen: list[tuple[Tensor, ...]] = []

    def forward(self, batch: Any) -> EmotionOutput:
        """Score a batch of waveforms, or of states of the frozen trunk."""
        if hasattr(batch, "states"):
            return self.network.from_trunk(batch.states, batch.num_frames)
        output: EmotionOutput = self.network(batch.waveform, batch.num_samples, batch.mask_seeds)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of a batch, over all devices."""
        rows = self._rows(batch)
        losses = self.losses(*rows)
        values = {"loss": losses.total, "rating_loss": losses.ratings, "emotion_loss": losses.emotion}
        self.log_part("train", values, len(rows[0]))
        return losses.total

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep what the network says, for the whole part's measures."""
        self._seen.append(self._rows(batch))

    test_step = validation_step

    def _rows(self, batch: Any) -> tuple[Tensor, ...]:
        """Scores, logits, ratings and emotions of a batch, of all devices."""
        output = self(batch)
        return tuple(map(gather_rows, (output.scores, output.emotion_logits, batch.ratings, batch.emotion)))

    def log_measures(self, part: str) -> None:
        """Log the measures of what was seen since the last time."""
        if self._seen:
            rows = tuple(torch.cat(column) for column in zip(*self._seen, strict=True))
            self.log_part(part, measure(self.losses, self.network.dimensions, *rows), len(rows[0]))
        self._seen.clear()
