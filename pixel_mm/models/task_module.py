"""What the LightningModules of all tasks do alike: optimiser, schedule, averaged weights, checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.enums import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.models.checkpoint import DescribedNetwork, describe, weights_for
from pixel_mm.models.freezing import count, trained_parameters
from pixel_mm.models.optimisation import WeightAverage, parameter_groups


class TaskModule(pl.LightningModule):
    """Trains a network. A task adds its steps, and `log_measures` for what it measures on whole parts."""

    def __init__(
        self,
        network: DescribedNetwork,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
        head_learning_rate: float,
        encoder_learning_rate: float,
        average_decay: float | None,
    ) -> None:
        """Take the parts.

        Args:
            network: adapted: what is frozen now stays frozen.
            optimizer: makes one from parameter groups.
            scheduler: makes one from the optimiser and `total_steps`; None keeps the rates.
            head_learning_rate: of what is not encoder.
            encoder_learning_rate: of the encoder.
            average_decay: of the running average of weights that is validated, saved and used; None averages nothing.
        """
        super().__init__()
        self.network, self.optimizer, self.scheduler = network, optimizer, scheduler
        self.head_learning_rate, self.encoder_learning_rate = head_learning_rate, encoder_learning_rate
        self.average = WeightAverage(trained_parameters(network), average_decay) if average_decay is not None else None
        self.strict_loading = False  # a checkpoint lacks what is frozen; on_load_checkpoint checks it instead

    def log_measures(self, part: str) -> None:
        """Log what is measured on a whole part, "validation" or "test", after its last batch."""

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, which the average takes in."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; of fused optimisers, too, where nothing has scaled them.

        Lightning refuses those under any mixed precision, since they undo the scaling of float16 by themselves; there
        is none in bfloat16.
        """
        precision = self.trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and precision.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

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
        self.log_measures("validation")
        self._use_average(self.trainer.state.fn != TrainerFn.FITTING)

    def on_fit_end(self) -> None:
        """Leave the averaged weights in the network: they are the result."""
        self._use_average(True)

    on_test_epoch_start = on_fit_end

    def on_test_epoch_end(self) -> None:
        """Log the part's measures."""
        self.log_measures("test")

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

    def log_part(self, part: str, values: Mapping[str, Tensor | float], batch_size: int) -> None:
        """Log values as `PART/NAME`, means over an epoch's rows."""
        named = {f"{part}/{name}": value for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)
