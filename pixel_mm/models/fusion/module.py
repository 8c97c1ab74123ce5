"""The fusion network in Lightning: batches to losses and logs."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.models.fusion.frame_store import FrameStore
from pixel_mm.models.fusion.gates import check_gates, check_loss, openness
from pixel_mm.models.fusion.global_batch import global_batch
from pixel_mm.models.fusion.losses import FusionLoss, ResponseLoss, answers_of, following_of, response_loss
from pixel_mm.models.fusion.measures import SeenBatch, calibrate, measure, whole_part
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.gather import gather_lists
from pixel_mm.models.task_module import TaskModule


class FusionModule(TaskModule):
    """Trains a `FusionNetwork`. Logs `PART/loss`, its terms, `train/openness` of gates, and `measure` on whole parts.

    A batch has `input_ids`, `attention_mask`, `labels`, `prompt_mask`, `answer_mask`, `has_text`, `targets` by
    `FUSION_SCORES`, and `audio_rows` with `waveform`, `num_samples` and `audio_hashes`.
    """

    network: FusionNetwork

    def __init__(
        self,
        network: FusionNetwork,
        losses: FusionLoss,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        head_learning_rate: float = 1e-3,
        encoder_learning_rate: float = 0.0,
        average_decay: float | None = None,
        max_gate: float = 3.0,
        frames: FrameStore | None = None,
    ) -> None:
        """Take the parts.

        Args:
            network: its adapter and heads are trained.
            losses: of answers, scores and confidence.
            optimizer: makes one from parameter groups.
            scheduler: makes one from the optimiser and `total_steps`; None keeps the rates.
            head_learning_rate: of adapter and heads.
            encoder_learning_rate: of nothing, as the encoders are frozen.
            average_decay: of the running average of weights that is validated, saved and used; None averages nothing.
            max_gate: training stops where a gate before tanh gets beyond.
            frames: keeps what the encoders gave over epochs and runs; None keeps none.
        """
        super().__init__(network, optimizer, scheduler, head_learning_rate, encoder_learning_rate, average_decay)
        self.losses, self.max_gate, self.frames = losses, max_gate, frames
        self._seen: list[SeenBatch] = []

    def forward(self, batch: Any) -> SeenBatch:
        """Read and hear a batch."""
        network, answers = self.network, answers_of(batch.labels)
        hearing = None
        if len(batch.audio_rows) and network.adapter is not None:
            voices = (batch.waveform, batch.num_samples)
            frames = (
                network.encode(*voices) if self.frames is None else self.frames(network, *voices, batch.audio_hashes)
            )
            hearing = network.hear(frames, batch.audio_rows, len(batch.has_text))
        prompt = network.prompt(batch.input_ids, batch.attention_mask)
        masks = (batch.prompt_mask, batch.answer_mask, batch.has_text)
        output = network(prompt, *masks, hearing, answers.columns, following_of(batch.labels))
        wanted = [FUSION_SCORES.index(name) for name in (*network.state_scores, *network.answer_scores)]
        if output.token_losses is None:
            response = response_loss(output.logits, answers.tokens)
        else:
            response = ResponseLoss.of_tokens(output.token_losses, answers)
        return SeenBatch(output, response, batch.targets[:, wanted], batch.has_text, batch.answer_mask.any(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of a batch.

        Raises:
            GateDivergedError: it is not a number.
        """
        seen, anchor = self(batch), self.network.anchor()
        seen = global_batch(seen, anchor)
        terms = self.losses(seen.output, seen.response.mean(), seen.targets, self.network.state_scores, seen.has_text)
        check_loss(terms.total)
        values = {"loss": terms.total, "response_loss": terms.response, "score_loss": terms.scores}
        self.log_part("train", values | {"openness": openness(self.network)}, len(seen.has_text))
        total = terms.total + anchor
        return total if seen.output.way_back is None else total + seen.output.way_back

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop where a gate has diverged.

        Raises:
            GateDivergedError: which gate.
        """
        check_gates(self.network, self.max_gate)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep what the network says, for the whole part's measures."""
        seen = self(batch)
        output = seen.output._replace(logits=torch.empty(0), token_losses=None)
        self._seen.append(seen._replace(output=output))

    test_step = validation_step

    def log_measures(self, part: str) -> None:
        """Log the measures of what was seen since the last time; the validation part also calibrates confidence."""
        if self._seen:
            # All processes measure the same rows: some measures are there for some rows only, and all must log alike.
            whole = whole_part(gather_lists(move_data_to_device(self._seen, "cpu")))
            self.log_part(part, measure(self.losses, self.network, whole), len(whole.has_text))
            if part == "validation" and not self.trainer.sanity_checking:
                calibrate(self.losses, self.network, whole)
        self._seen.clear()
