"""Dynamic audio context in Lightning: batches of unlabelled speech to lessons, losses and logs."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pixel_mm.models.speech_recognition.context_distillation import ContextLoss, Teacher
from pixel_mm.models.speech_recognition.decoding import DecodingOptions
from pixel_mm.models.speech_recognition.lessons import LessonStore
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.models.task_module import TaskModule
from pixel_mm.whisper_tokens import WhisperTokenizer


class ContextModule(TaskModule):
    """Trains a recogniser's short context on what its full context gave before. Logs `PART/loss` and its terms.

    A batch has `waveform`, `num_samples` and `audio_hashes`.
    """

    network: WhisperRecognizer

    def __init__(
        self,
        network: WhisperRecognizer,
        losses: ContextLoss,
        tokenizer: WhisperTokenizer,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        decoder_learning_rate: float = 1e-5,
        encoder_learning_rate: float = 5e-5,
        average_decay: float | None = None,
        store: LessonStore | None = None,
        language: str = "en",
    ) -> None:
        """Take the parts; the teacher is the network as it is now.

        Args:
            network: with short context and published weights, adapted: what is frozen now stays frozen.
            losses: of the student.
            tokenizer: of the network.
            optimizer: makes one from parameter groups.
            scheduler: makes one from the optimiser and `total_steps`; None keeps the rates.
            decoder_learning_rate: of the decoder.
            encoder_learning_rate: of the encoder.
            average_decay: of the running average of weights that is validated, saved and used; None averages nothing.
            store: keeps the teacher's lessons over epochs and runs; None keeps none.
            language: ISO 639-1 code of the speech.

        Raises:
            ValueError: the network has full context, so there is nothing to learn.
            TokenizerError: the tokenizer is of another network.
        """
        super().__init__(network, optimizer, scheduler, decoder_learning_rate, encoder_learning_rate, average_decay)
        if network.context != "short":
            raise ValueError("the network has full context already: set recognizer.network.context to short")
        self.losses = losses
        full = deepcopy(network)
        full.context = "full"
        # Half of the decoder's positions, as published.
        options = DecodingOptions(language=language, max_tokens=network.decoder.max_tokens // 2)
        self.teacher = Teacher(full, tokenizer, options, store)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        return self._step("train", batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the losses of a batch."""
        self._step("validation", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log the losses of a batch."""
        self._step("test", batch)

    def _step(self, part: str, batch: Any) -> Tensor:
        lessons = self.teacher.lessons(batch.waveform, batch.num_samples, batch.audio_hashes)
        losses = self.losses(self.network, self.teacher, lessons, batch.waveform, batch.num_samples)
        self.log_part(
            part, {"loss": losses.total, "frame_loss": losses.frames, "token_loss": losses.tokens}, len(batch)
        )
        return losses.total
