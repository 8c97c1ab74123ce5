"""Scores read from a fused language model, each by a logit of its own, with a confidence for each source.

Three readers: of the words alone (hidden states below the lowest block, which no voice reaches), of the voice alone
(latents), and of both (unless told otherwise, hidden states at the top, too). A row is scored by the reader of what it
has. An answer has a reader of its own, since what it does for a person is to be seen in its words. So has bias: it is
read from the words alone, and from other words than feelings are (docs/decisions.md).

Crisis, where there is a voice, is the logit of the words plus a term that is never negative: a calm voice can't talk
away what was said.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CRISIS_CLOSED = -4.0  # the voice's share of the crisis logit begins near 0: softplus(-4) is 0.02


class Readings(NamedTuple):
    """What one reader says of a batch.

    Attributes:
        logits: float32 [R, K], one for each score, in the order of the names; the score is its sigmoid.
        confidence: float32 [R], logit of being right; see `pixel_mm.models.fusion.losses`.
    """

    logits: Tensor
    confidence: Tensor


class MaskedPooling(nn.Module):
    """Attention-weighted mean of the states that a mask chooses."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        """Project states of `size` to `width`."""
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(size), nn.Dropout(dropout), nn.Linear(size, width), nn.GELU())
        self.score = nn.Linear(width, 1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            states: float [R, S, size].
            mask: bool [R, S]; a row without any is pooled to zeros.

        Returns:
            float32 [R, width].
        """
        projected = self.project(states.to(self.score.weight.dtype)).float()
        scores = self.score(projected).squeeze(2).float().masked_fill(~mask, torch.finfo(torch.float32).min)
        weights = scores.softmax(1) * mask
        return (weights.unsqueeze(1) @ projected).squeeze(1)


class Reader(nn.Module):
    """Features of a row to logits, one per score, and to a confidence that does not push the features about."""

    def __init__(self, size: int, width: int, num_scores: int, dropout: float) -> None:
        """Build a hidden layer and two outputs."""
        super().__init__()
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(size, width), nn.GELU())
        self.logits = nn.Linear(width, num_scores)
        self.confidence = nn.Linear(width, 1)
        self.calibration = nn.Parameter(torch.tensor([1.0, 0.0]))  # scale and offset (Platt 1999)

    def forward(self, features: Tensor) -> Readings:
        """Read float [R, size]."""
        hidden = self.hidden(features)
        raw = self.confidence(hidden.detach()).squeeze(1).float()
        return Readings(self.logits(hidden).float(), raw * self.calibration[0] + self.calibration[1])


class BiasReader(nn.Module):
    """Words to the logit of bias, with features of its own."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        """Read states of `size` through features of `width`."""
        super().__init__()
        self.words = MaskedPooling(size, width, dropout)
        self.logit = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, below: Tensor, mask: Tensor) -> Tensor:
        """Read float [B, S, size] where bool [B, S] is true: float32 [B, 1]."""
        logit: Tensor = self.logit(self.words(below, mask)).float()
        return logit


class FusionHeads(nn.Module):
    """The readers, over scores by name."""

    def __init__(
        self,
        state_scores: Sequence[str],
        answer_scores: Sequence[str],
        hidden_size: int,
        audio_size: int | None,
        width: int,
        dropout: float,
        reads_top: bool = True,
    ) -> None:
        """Build the readers of what there is.

        Args:
            state_scores: names of the scores of the person.
            answer_scores: names of the scores of the answer.
            hidden_size: of the language model.
            audio_size: of the latents; None: nobody is ever heard.
            width: of features.
            dropout: in training.
            reads_top: voice and words together are also read from the hidden states at the top.
        """
        super().__init__()
        self.top: MaskedPooling | None = None
        self.state_scores, self.answer_scores, self.width = tuple(state_scores), tuple(answer_scores), width
        count = len(self.state_scores)
        if count:
            self.words = MaskedPooling(hidden_size, width, dropout)
            self.text = Reader(width, width, count, dropout)
            self.bias = BiasReader(hidden_size, width, dropout) if "bias" in self.state_scores else None
            if audio_size is not None:
                self.voice = MaskedPooling(audio_size, width, dropout)
                self.top = MaskedPooling(hidden_size, width, dropout) if reads_top else None
                self.audio = Reader(width, width, count, dropout)
                self.both = Reader((3 if reads_top else 2) * width, width, count, dropout)
                _start_closed(self.audio, self.both, self._crisis())
                # What is assumed of somebody whose words are not known.
                self.unread_crisis = nn.Parameter(torch.tensor(-2.0)) if "crisis" in self.state_scores else None
        if self.answer_scores:
            self.answer = MaskedPooling(hidden_size, width, dropout)
            self.answer_reader = Reader(width, width, len(self.answer_scores), dropout)

    def _crisis(self) -> int | None:
        return self.state_scores.index("crisis") if "crisis" in self.state_scores else None

    def read_words(self, below: Tensor, mask: Tensor) -> tuple[Tensor, Readings]:
        """Features float32 [B, width] of states that no voice has reached, and what they say."""
        features = self.words(below, mask)
        readings = self.text(features)
        if self.bias is not None:
            readings = _replaced(readings, self.state_scores.index("bias"), self.bias(below, mask))
        return features, readings

    def read_voice(
        self,
        latents: Tensor,
        mask: Tensor,
        words: Tensor,
        text: Readings,
        top: Tensor,
        has_text: Tensor,
        prompt: Tensor,
    ) -> tuple[Readings, Readings]:
        """What the voice says alone, and with the words, of rows that are all heard.

        Args:
            latents: float [A, N, audio size].
            mask: bool [A, N].
            words: float [A, width], features of `read_words`.
            text: their readings.
            top: float [A, S, H], hidden states at the top.
            has_text: bool [A], false where nothing was read.
            prompt: bool [A, S], tokens before the answer.
        """
        voice, alone = self.hear_voice(latents, mask)
        known = words * has_text[:, None]
        features = (voice, known) if self.top is None else (voice, known, self.top(top, prompt))
        return alone, self._never_below(self.both(torch.cat(features, 1)), text, has_text)

    def hear_voice(self, latents: Tensor, mask: Tensor) -> tuple[Tensor, Readings]:
        """Features float32 [A, width] of latents float [A, N, audio size], and what the voice says alone."""
        voice = self.voice(latents, mask)
        return voice, self._never_below(self.audio(voice), None, torch.ones_like(mask[:, 0]))

    def _never_below(self, readings: Readings, text: Readings | None, has_text: Tensor) -> Readings:
        crisis = self._crisis()
        if crisis is None:
            return readings
        assert self.unread_crisis is not None
        base = self.unread_crisis.expand(has_text.shape[0])
        if text is not None:
            base = torch.where(has_text, text.logits[:, crisis], base)
        added = base + F.softplus(readings.logits[:, crisis])
        return _replaced(readings, crisis, added[:, None])

    def read_answer(self, top: Tensor, mask: Tensor) -> Readings:
        """Readings of answers, from hidden states float [B, S, H] at the tokens that the mask [B, S] chooses."""
        return Readings(*self.answer_reader(self.answer(top, mask)))


def columns_of(mask: Tensor) -> slice:
    """From the first column of bool [B, S] that is true in some row to the last; empty where there is none."""
    columns = mask.any(0).nonzero().flatten()
    return slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 0)


def _replaced(readings: Readings, column: int, logits: Tensor) -> Readings:
    """Readings with the logits of one score, [R, 1], in place of their own."""
    index = torch.tensor([column], device=logits.device)
    return readings._replace(logits=readings.logits.index_copy(1, index, logits))


@torch.no_grad()
def _start_closed(audio: Reader, both: Reader, crisis: int | None) -> None:
    if crisis is not None:
        for reader in (audio, both):
            reader.logits.bias[crisis] = _CRISIS_CLOSED
