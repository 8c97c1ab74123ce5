"""A recogniser and transcripts in Lightning: batches to losses, error rates and logs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.metrics.error_rates import ErrorCounts, Normaliser, count_errors, normaliser
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.gather import gather_rows
from pixel_mm.models.speech_recognition.writing import Writing
from pixel_mm.models.task_module import TaskModule


class TranscriptModule(TaskModule):
    """Trains a recogniser on transcripts. Logs `PART/loss`, and on whole parts the word and character error rates.

    A batch has `waveform`, `num_samples`, `mask_seeds` and `transcripts`. Losses are means over all tokens of a batch,
    over all devices.
    """

    def __init__(
        self,
        network: DescribedNetwork,
        writing: Writing,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        head_learning_rate: float = 1e-5,
        encoder_learning_rate: float = 1e-5,
        average_decay: float | None = None,
        compared_by: Normaliser = "basic",
    ) -> None:
        """Take the parts.

        Args:
            network: adapted: what is frozen now stays frozen.
            writing: how the network writes.
            optimizer: makes one from parameter groups.
            scheduler: makes one from the optimiser and `total_steps`; None keeps the rates.
            head_learning_rate: of what is not encoder.
            encoder_learning_rate: of the encoder.
            average_decay: of the running average of weights that is validated, saved and used; None averages nothing.
            compared_by: what makes spellings equal before words are compared.

        Raises:
            ValueError: the network does not write this way.
        """
        super().__init__(network, optimizer, scheduler, head_learning_rate, encoder_learning_rate, average_decay)
        writing.check_fits(network)
        self.writing, self._same = writing, normaliser(compared_by)
        self._seen: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of a batch, over all devices."""
        sums, counts = map(gather_rows, self._losses(batch, batch.mask_seeds))
        loss = sums.sum() / counts.sum()
        self.log_part("train", {"loss": loss}, len(sums))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep losses and errors, for the whole part's measures."""
        sums, counts = self._losses(batch, None)
        clips = zip(batch.waveform.float().cpu().numpy(), batch.num_samples.tolist(), strict=True)
        heard = self.writing.transcribe(self.network, [samples[:length] for samples, length in clips])
        errors = [
            [*_kinds(count_errors(*pair)), *_kinds(count_errors(*pair, "character"))]
            for pair in zip(map(self._same, batch.transcripts), map(self._same, heard), strict=True)
        ]
        rows = torch.tensor(errors, dtype=torch.float64, device="cpu").to(sums.device, torch.float32)
        self._seen.append(gather_rows(torch.cat((sums[:, None], counts[:, None], rows), dim=1)))

    test_step = validation_step

    def log_measures(self, part: str) -> None:
        """Log loss and error rates of what was seen since the last time."""
        if self._seen:
            rows = torch.cat(self._seen).double()
            loss, tokens, *kinds = rows.sum(0).tolist()
            words, characters = (ErrorCounts(*map(round, kinds[first : first + 4])) for first in (0, 4))
            values = {"loss": loss / tokens, "word_error_rate": words.rate, "character_error_rate": characters.rate}
            self.log_part(part, values, len(rows))
        self._seen.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold what tells whose tokens they are, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["writing_sha256"] = self.writing.fingerprint(self.network)

    def _losses(self, batch: Any, mask_seeds: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.writing.losses(self.network, batch.waveform, batch.num_samples, batch.transcripts, mask_seeds)


def _kinds(counts: ErrorCounts) -> tuple[int, int, int, int]:
    return counts.hits, counts.substitutions, counts.deletions, counts.insertions
