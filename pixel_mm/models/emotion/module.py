"""The emotion regressor in Lightning: batches to losses, optimiser, weight averaging, checkpoints, logs."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.models.checkpoint import describe, weights_for
from pixel_mm.models.emotion.losses import EmotionLoss
from pixel_mm.models.emotion.measures import measure
from pixel_mm.models.emotion.network import EmotionOutput, EmotionRegressor
from pixel_mm.models.freezing import count, trained_parameters
from pixel_mm.models.gather import gather_rows
from pixel_mm.models.optimisation import WeightAverage, parameter_groups


class EmotionModule(pl.LightningModule):
    """Trains an `EmotionRegressor`. Logs `PART/loss`, its terms, and on whole parts the measures of `measure`.

    A batch has `ratings`, `emotion`, and either `waveform`, `num_samples`, `mask_seeds` or a trunk's `states`,
    `num_frames`. Losses are of the whole batch, over all devices.
    """

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
        super().__init__()
        self.network, self.losses, self.optimizer, self.scheduler = network, losses, optimizer, scheduler
        self.head_learning_rate, self.encoder_learning_rate = head_learning_rate, encoder_learning_rate
        self.average = WeightAverage(trained_parameters(network), average_decay) if average_decay is not None else None
        self.strict_loading = False  # a checkpoint lacks what is frozen; on_load_checkpoint checks it instead
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
        self._log("train", {"loss": losses.total, "rating_loss": losses.ratings, "emotion_loss": losses.emotion}, rows)
        return losses.total

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, which the average takes in."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep what the network says, for the whole part's measures."""
        self._seen.append(self._rows(batch))

    test_step = validation_step

    def on_fit_start(self) -> None:
        """Train the weights of the last step, and say how many they are."""
        self._use_average(False)
        self.train()  # Lightning leaves modes alone, and freezing came after the network was made
        rank_zero_info("training %d of %d parameters", *count(self.network))

    def on_validation_epoch_start(self) -> None:
        """Validate the averaged weights."""
        self._use_average(True)

    def on_validation_epoch_end(self) -> None:
        """Log the part's measures; training goes on with the weights of the last step."""
        self._log_measures("validation")
        self._use_average(self.trainer.state.fn != TrainerFn.FITTING)

    def on_fit_end(self) -> None:
        """Leave the averaged weights in the network: they are the result."""
        self._use_average(True)

    on_test_epoch_start = on_fit_end

    def on_test_epoch_end(self) -> None:
        """Log the part's measures."""
        self._log_measures("test")

    def configure_optimizers(self) -> Any:
        """Optimiser over what is trained, and schedule over the training's steps."""
        groups = parameter_groups(self.network, self.head_learning_rate, self.encoder_learning_rate)
        optimizer = self.optimizer(groups)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold trained weights alone, and what tells whose they are."""
        last = {name: parameter.detach() for name, parameter in trained_parameters(self.network).items()}
        chosen = last
        if self.average is not None:
            last, chosen = self.average.weights(averaged=False), self.average.weights(averaged=True)
            checkpoint["num_averaged"] = self.average.num_updates
        checkpoint["state_dict"] = {f"network.{name}": weight for name, weight in last.items()}
        checkpoint.update(describe(self.network, chosen))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another network; Lightning then loads the weights of the last step.

        Raises:
            CheckpointError: what differs.
        """
        averaged = weights_for(self.network, checkpoint)
        if self.average is not None:
            self.average.load(averaged, checkpoint.get("num_averaged", 0))

    def _use_average(self, averaged: bool) -> None:
        if self.average is not None:
            self.average.use(averaged)

    def _rows(self, batch: Any) -> tuple[Tensor, ...]:
        """Scores, logits, ratings and emotions of a batch, of all devices."""
        output = self(batch)
        return tuple(map(gather_rows, (output.scores, output.emotion_logits, batch.ratings, batch.emotion)))

    def _log_measures(self, part: str) -> None:
        if self._seen:
            rows = tuple(torch.cat(column) for column in zip(*self._seen, strict=True))
            self._log(part, measure(self.losses, self.network.dimensions, *rows), rows)
        self._seen.clear()

    def _log(self, part: str, values: Mapping[str, Tensor | float], rows: tuple[Tensor, ...]) -> None:
        named = {f"{part}/{name}": value for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=len(rows[0]), sync_dist=True)
