"""Teaches a Whisper to hear a short context as it hears a full one, from speech without transcripts.

The teacher is the published network on 30 padded seconds, the student the same network on the frames there are. The
student learns the teacher's frames, and what the teacher scores while it writes its own transcript (Kim & Rush,
"Sequence-level knowledge distillation", EMNLP 2016, with the scores of Hinton et al. 2015).
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixel_mm.audio import MAX_SAMPLES, Waveform
from pixel_mm.models.freezing import fingerprint
from pixel_mm.models.frontend import LogMel, padding_mask
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, decode
from pixel_mm.models.speech_recognition.lessons import Lesson, Lessons, LessonStore, stack
from pixel_mm.models.speech_recognition.network import TAIL_SAMPLES, WhisperRecognizer
from pixel_mm.models.speech_recognition.torch_decoder import HeardByTorch, TorchDecoder
from pixel_mm.whisper_tokens import WhisperTokenizer

# Changes when the code between a waveform and a lesson comes to give other numbers.
_FORMAT = 2


class ContextLosses(NamedTuple):
    """Losses of a batch.

    Attributes:
        total: the weighted sum.
        frames: error of the encoder's frames, as a share of their energy.
        tokens: Kullback-Leibler divergence of the student's next token from the teacher's, nats a token.
    """

    total: Tensor
    frames: Tensor
    tokens: Tensor


class ContextLoss(nn.Module):
    """How far a student on short context is from its lessons."""

    def __init__(self, frame_weight: float = 1.0, token_weight: float = 1.0) -> None:
        """Weigh the parts.

        Raises:
            ValueError: a negative weight, or nothing to learn.
        """
        super().__init__()
        if min(frame_weight, token_weight) < 0 or frame_weight + token_weight == 0:
            raise ValueError(
                f"losses.frame_weight is {frame_weight} and losses.token_weight {token_weight}; give 0 or more, not "
                "both 0"
            )
        self.frame_weight, self.token_weight = frame_weight, token_weight

    def forward(
        self,
        student: WhisperRecognizer,
        teacher: "Teacher",
        lessons: Lessons,
        waveform: Tensor,
        num_samples: Tensor,
    ) -> ContextLosses:
        """Losses of a batch.

        Args:
            student: with short context.
            teacher: whose lessons they are.
            lessons: of the same batch.
            waveform: float32 [B, T], 16 kHz.
            num_samples: int64 [B].
        """
        frames, num_frames = student.hear(waveform, num_samples)
        logits = student.teach(lessons.tokens, frames, num_frames)
        rest = student.num_rest_frames
        frame_loss = frame_error(frames[:, rest:], lessons.frames, num_frames - rest)
        token_loss = token_divergence(logits[lessons.scored], teacher.logits(lessons.hidden[lessons.scored]))
        return ContextLosses(self.frame_weight * frame_loss + self.token_weight * token_loss, frame_loss, token_loss)


def frame_error(student: Tensor, teacher: Tensor, num_frames: Tensor) -> Tensor:
    """Squared error over the teacher's squares, float [].

    Args:
        student: float [B, F, D].
        teacher: float [B, F, D].
        num_frames: int64 [B]; what lies beyond is not looked at.
    """
    real = padding_mask(num_frames, student.shape[1])
    keep = 1.0 if real is None else real.unsqueeze(2)
    return ((student.float() - teacher) * keep).square().sum() / (teacher * keep).square().sum()


def token_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher, mean over the places, float [], nats.

    Args:
        student: logits, float [places, V]; no place at all diverges by 0.
        teacher: logits, float [places, V].
    """
    ours, theirs = F.log_softmax(student.float(), dim=-1), F.log_softmax(teacher.float(), dim=-1)
    return F.kl_div(ours, theirs, reduction="sum", log_target=True) / max(len(student), 1)


class Teacher(nn.Module):
    """Hears clips in full context, writes their transcripts, and keeps what it said."""

    def __init__(
        self,
        network: WhisperRecognizer,
        tokenizer: WhisperTokenizer,
        options: DecodingOptions,
        store: LessonStore | None = None,
    ) -> None:
        """Take the network as it is; it is frozen.

        Args:
            network: with full context.
            tokenizer: of the network.
            options: how it decodes; with a language, since the prompt must be known.
            store: where lessons are kept; None keeps none.

        Raises:
            ValueError: short context, or no language.
            TokenizerError: the tokenizer is of another network.
        """
        super().__init__()
        if network.context != "full" or options.language is None:
            raise ValueError(
                f"the teacher's context is {network.context} and its language {options.language}; it needs full "
                "context and a language"
            )
        tokenizer.check_fits(network.decoder.embed_tokens.num_embeddings)
        self._network = network.requires_grad_(False)
        self._tokenizer, self._options, self._store = tokenizer, options, store
        self._prompt = tokenizer.prompt(options.language, options.task, options.timestamps)
        content = [_FORMAT, network.architecture, fingerprint(network.state_dict()), repr(options), self._prompt]
        self.key = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation, whatever happens to the student."""
        return super().train(False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores float [..., V] of the decoder's states float [..., D]."""
        with torch.no_grad():
            return self._network.decoder.logits(hidden)

    def lessons(self, waveform: Tensor, num_samples: Tensor, audio_hashes: Sequence[str]) -> Lessons:
        """Lessons of a batch; those that are kept are not given again.

        Args:
            waveform: float32 [B, T], 16 kHz.
            num_samples: int64 [B].
            audio_hashes: SHA-256 of each clip.
        """
        known = [self._store.get(self.key, each) if self._store else None for each in audio_hashes]
        if rows := [row for row, lesson in enumerate(known) if lesson is None]:
            for row, lesson in zip(rows, self._give(waveform[rows], num_samples[rows]), strict=True):
                known[row] = lesson
                if self._store:
                    self._store.put(self.key, audio_hashes[row], lesson)
        return stack([lesson for lesson in known if lesson is not None], self._tokenizer.end).to(waveform.device)

    @torch.no_grad()
    def _give(self, waveform: Tensor, num_samples: Tensor) -> list[Lesson]:
        device = next(self._network.parameters()).device
        frames, num_frames = self._network.hear(waveform.to(device), num_samples.to(device))
        clips = [row[:length].cpu().numpy() for row, length in zip(waveform, num_samples.tolist(), strict=True)]
        written = decode(_Heard(self._network, frames, num_frames), clips, self._tokenizer, self._options)
        tokens = [self._tokens(each) for each in written]
        padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=self._tokenizer.end).to(device)
        speech, past = self._network.decoder.hear(frames), self._network.decoder.no_past(len(tokens))
        hidden, _ = self._network.decoder(padded, speech, None, past)
        return [
            Lesson(
                frames=frames[row, : _short_frames(length)].cpu().half(),
                tokens=tokens[row],
                num_prompt=torch.tensor(len(self._prompt)),
                hidden=hidden[row, : len(tokens[row])].cpu().half(),
            )
            for row, length in enumerate(num_samples.tolist())
        ]

    def _tokens(self, written: Hypothesis) -> Tensor:
        ended = len(written.log_probabilities) > len(written.tokens)
        return torch.tensor([*self._prompt, *written.tokens, *([self._tokenizer.end] if ended else [])])


def _short_frames(num_samples: int) -> int:
    """Frames that short context has of a clip."""
    mel_frames = min(num_samples + TAIL_SAMPLES, MAX_SAMPLES) // LogMel.hop_samples
    return (mel_frames + 1) // 2


class _Heard(TorchDecoder):
    """A decoder whose clips are encoded already."""

    def __init__(self, network: WhisperRecognizer, frames: Tensor, num_frames: Tensor) -> None:
        super().__init__(network)
        self._given = HeardByTorch(network.decoder.hear(frames), num_frames)

    def hear(self, waveforms: Sequence[Waveform]) -> HeardByTorch:
        """What was given."""
        return self._given
