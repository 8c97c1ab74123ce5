from pathlib import Path

import pytest
import torch

from pixel_mm.models.speech_recognition.lessons import Lesson, LessonError, LessonStore, stack

END = 9


def lesson(tokens: list[int], num_frames: int = 3) -> Lesson:
    return Lesson(
        frames=torch.ones(num_frames, 4, dtype=torch.float16),
        tokens=torch.tensor(tokens),
        num_prompt=torch.tensor(2),
        hidden=torch.ones(len(tokens), 4, dtype=torch.float16),
    )


def test_a_transcript_without_an_end_is_not_scored() -> None:
    lessons = stack([lesson([1, 2, 5, 6, END], 3), lesson([1, 2, 5, 5], 2)], END)
    assert lessons.tokens.tolist() == [[1, 2, 5, 6, END], [1, 2, 5, 5, END]]
    assert lessons.scored.tolist() == [[False, True, True, True, False], [False] * 5]
    assert lessons.num_frames.tolist() == [3, 2]
    assert lessons.frames[1, 2].abs().sum() == 0


def test_silence_is_a_lesson_too() -> None:
    assert stack([lesson([1, 2, END])], END).scored.tolist() == [[False, True, False]]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    store = LessonStore(tmp_path)
    assert store.get("teacher", "a") is None
    store.put("teacher", "a", lesson([1, 2, END]))
    kept = LessonStore(tmp_path).get("teacher", "a")
    assert kept is not None
    assert kept.tokens.tolist() == [1, 2, END]
    assert store.get("other", "a") is None


def test_the_folder_does_not_grow_past_its_limit(tmp_path: Path) -> None:
    LessonStore(tmp_path).put("teacher", "a", lesson([1, 2, END]))
    full = LessonStore(tmp_path, max_gigabytes=150e-9)
    with pytest.raises(LessonError, match=r"would grow past 1.5e-07 GB.*module\.store\.max_gigabytes"):
        full.put("teacher", "b", lesson([1, 2, END]))
    assert full.get("teacher", "b") is None


def test_a_value_that_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    broken = lesson([1, 2, END])
    broken.frames[0, 0] = float("inf")
    with pytest.raises(LessonError, match="not finite"):
        LessonStore(tmp_path).put("teacher", "a", broken)
