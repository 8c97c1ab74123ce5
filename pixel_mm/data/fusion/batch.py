"""Fusion rows as batches: tokens of prompt and answer, the voices of the rows that have one, targets by name."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from pixel_mm.chat import ChatTokens
from pixel_mm.data.emotions import FUSION_SCORES

NO_TOKEN = -100
"""Label of a token that is not learnt: the one that torch's cross-entropy ignores."""


@dataclass(frozen=True, kw_only=True)
class FusionBatch:
    """B rows, A of which have a voice; S tokens in the longest row, T samples in the longest voice.

    Attributes:
        keys: names of the rows.
        index: int64 [B], the data module's rows.
        input_ids: int64 [B, S], padded on the right.
        attention_mask: int64 [B, S], 1 where there is a token.
        labels: int64 [B, S], the answer's own tokens with the end of turn, not shifted; -100 elsewhere, and of
            answers that are there to be judged.
        prompt_mask: bool [B, S], from the first token of the person's words to the last one before the answer.
        answer_mask: bool [B, S], the answer's tokens.
        has_text: bool [B], whether the person's words are known.
        waveform: float32 [A, T], 16 kHz, zero beyond a voice's end; nothing stands in for a voice that isn't there.
        num_samples: int64 [A].
        audio_rows: int64 [A], ascending, the rows that the voices belong to.
        audio_hashes: SHA-256 of each voice's levelled waveform.
        targets: float32 [B, 8], 0..1, by `FUSION_SCORES`; NaN where there is none.
        below: float [B, S, H], hidden states to go on from instead of tokens, or None.
    """

    keys: tuple[str, ...]
    index: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    prompt_mask: Tensor
    answer_mask: Tensor
    has_text: Tensor
    waveform: Tensor
    num_samples: Tensor
    audio_rows: Tensor
    audio_hashes: tuple[str, ...]
    targets: Tensor
    below: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.keys)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The batch with its tensors on a device."""
        return self._with({name: each.to(device, non_blocking=non_blocking) for name, each in self._tensors().items()})

    def pin_memory(self) -> Self:
        """The batch in page-locked memory; what a DataLoader with `pin_memory` calls."""
        return self._with({name: each.pin_memory() for name, each in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _with(self, tensors: dict[str, Any]) -> Self:
        return replace(self, **tensors)


class RowContent(NamedTuple):
    """A row on its way into a batch.

    Attributes:
        key: its name.
        row: its place in the data module.
        tokens: of prompt and answer.
        imitated: whether the answer is one to learn.
        has_text: whether the person's words are known.
        waveform: float32 [T], or None.
        audio_hash: of the waveform, or None.
        targets: by `FUSION_SCORES`, NaN where there is none.
    """

    key: str
    row: int
    tokens: ChatTokens
    imitated: bool
    has_text: bool
    waveform: np.ndarray | None
    audio_hash: str | None
    targets: list[float]


class RowCollator:
    """Stacks rows into a batch; a class, so that worker processes can be given it."""

    def __init__(self, padding_id: int) -> None:
        """Pad with this token."""
        self.padding_id = padding_id

    def __call__(self, rows: Sequence[RowContent]) -> FusionBatch:
        """Stack rows, each padded to the longest."""
        tokens = [torch.tensor(row.tokens.input_ids, dtype=torch.int64) for row in rows]
        lengths = torch.tensor([len(each) for each in tokens])
        ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=self.padding_id)
        place = torch.arange(ids.shape[1])
        words, answers = (
            torch.tensor([getattr(row.tokens, name) for row in rows])[:, None]
            for name in ("words_start", "answer_start")
        )
        there = place < lengths[:, None]
        answer_mask = there & (place >= answers)
        learnt = torch.tensor([row.imitated for row in rows])[:, None]
        heard = [(number, row) for number, row in enumerate(rows) if row.waveform is not None]
        voices = [torch.tensor(row.waveform, dtype=torch.float32) for _, row in heard]
        waveform = torch.nn.utils.rnn.pad_sequence(voices, batch_first=True) if voices else torch.zeros(0, 0)
        return FusionBatch(
            keys=tuple(row.key for row in rows),
            index=torch.tensor([row.row for row in rows]),
            input_ids=ids,
            attention_mask=there.long(),
            labels=torch.where(answer_mask & learnt, ids, NO_TOKEN),
            prompt_mask=(place >= words) & (place < answers),
            answer_mask=answer_mask,
            has_text=torch.tensor([row.has_text for row in rows]),
            waveform=waveform,
            num_samples=torch.tensor([len(each) for each in voices], dtype=torch.int64),
            audio_rows=torch.tensor([number for number, _ in heard], dtype=torch.int64),
            audio_hashes=tuple(str(row.audio_hash) for _, row in heard),
            targets=torch.tensor([row.targets for row in rows]).reshape(-1, len(FUSION_SCORES)),
        )
