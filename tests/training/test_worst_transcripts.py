from types import SimpleNamespace
from typing import Any

import torch

from pixel_mm.training.worst_transcripts import worst_transcripts


def batch(first: int, *texts: str) -> Any:
    rows = len(texts)
    return SimpleNamespace(
        waveform=torch.zeros(rows, 500),
        num_samples=torch.full((rows,), 400),
        transcripts=texts,
        index=torch.arange(first, first + rows),
        keys=tuple(f"clip{number}" for number in range(first, first + rows)),
    )


def test_most_errors_come_first_and_what_is_right_is_left_out() -> None:
    heard = iter([["One, two!", "so"], ["three of them", "x"]])
    given = []

    def transcribe(_: Any, clips: Any) -> list[str]:
        given.extend(clip.size for clip in clips)
        return next(heard)

    batches = [batch(0, "one two", "four five six"), batch(2, "three", "seven")]
    worst = worst_transcripts(None, SimpleNamespace(transcribe=transcribe), batches, 2)  # type: ignore[arg-type]
    assert [(each.index, each.key, each.errors.errors) for each in worst] == [(1, "clip1", 3), (2, "clip2", 2)]
    assert worst[0].cells == {"errors": 3, "word error rate": 1.0, "said": "four five six", "heard": "so"}
    assert given == [400] * 4
