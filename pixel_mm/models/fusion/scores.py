"""Readings of the fusion network as scores by name, 0..1, of what each row has."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixel_mm.models.fusion.heads import Readings
from pixel_mm.models.fusion.reading import FusionOutput


@dataclass(frozen=True)
class FusionScores:
    """Scores of B rows, float32 [B] each, NaN where a row lacks what they are read from.

    Attributes:
        scores: by name, from all that a row has: voice and words, or one of them; of the answer where there is one.
        text: by name, from the words alone.
        audio: by name, from the voice alone.
        confidence: probability of being right about the feeling, by what it is read from: "text", "audio", "overall".
    """

    scores: dict[str, Tensor]
    text: dict[str, Tensor]
    audio: dict[str, Tensor]
    confidence: dict[str, Tensor]


def name_scores(
    output: FusionOutput,
    state_scores: Sequence[str],
    answer_scores: Sequence[str],
    has_text: Tensor,
    has_answer: Tensor,
) -> FusionScores:
    """Give every score its name. Crisis with a voice is never below that of the words alone; bias is that of the words.

    Args:
        output: of a batch.
        state_scores: of the network.
        answer_scores: of the network.
        has_text: bool [B].
        has_answer: bool [B].
    """
    text = audio = overall = None
    if output.text is not None:
        text = _spread(output.text, torch.arange(len(has_text), device=has_text.device), len(has_text), has_text)
        overall = text
    if output.audio is not None and output.both is not None and text is not None:
        audio = _spread(output.audio, output.rows, len(has_text))
        both = _spread(output.both, output.rows, len(has_text))
        heard = ~audio[0][:, 0].isnan()
        both = [torch.where(has_text.reshape(-1, *[1] * (b.ndim - 1)), b, a) for a, b in zip(audio, both, strict=True)]
        overall = [torch.where(heard.reshape(-1, *[1] * (b.ndim - 1)), b, t) for t, b in zip(text, both, strict=True)]
        if "crisis" in state_scores:
            column = list(state_scores).index("crisis")
            # The logit is above by construction; this is for the last bit of the sigmoid.
            overall[0][:, column] = torch.fmax(overall[0][:, column], text[0][:, column])
    if overall is not None and "bias" in state_scores:
        # Hate lies in the words: a voice adds nothing to it, and says nothing of it alone.
        column = list(state_scores).index("bias")
        said = torch.nan if text is None else text[0][:, column]
        overall[0][:, column] = said
        if audio is not None:
            audio[0][:, column] = torch.nan
    scores = _named(overall, state_scores)
    if output.answer is not None:
        everyone = torch.arange(len(has_answer), device=has_answer.device)
        scores |= _named(_spread(output.answer, everyone, len(has_answer), has_answer), answer_scores)
    sources = {"text": text, "audio": audio, "overall": overall}
    confidence = {name: source[1] for name, source in sources.items() if source is not None}
    return FusionScores(scores, _named(text, state_scores), _named(audio, state_scores), confidence)


def _spread(readings: Readings, rows: Tensor, num_rows: int, there: Tensor | None = None) -> list[Tensor]:
    """Probabilities [B, K] and confidence [B] of readings of some rows, NaN elsewhere."""
    spread = []
    for logits in readings:
        whole = torch.full((num_rows, *logits.shape[1:]), torch.nan, device=logits.device)
        whole[rows] = logits.detach().float().sigmoid()
        if there is not None:
            whole[~there] = torch.nan
        spread.append(whole)
    return spread


def _named(readings: list[Tensor] | None, names: Sequence[str]) -> dict[str, Tensor]:
    return {} if readings is None else {name: readings[0][:, column] for column, name in enumerate(names)}
