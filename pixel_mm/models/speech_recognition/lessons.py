"""What a teacher says of a clip, stacked for training and kept on the disk: hearing 30 padded seconds is the dear part.

One safetensors file per clip. Its folder is named after all that a lesson depends on beside the audio, its name is the
hash of the audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pixel_mm.runs import atomic_path


class LessonError(ValueError):
    """A lesson that cannot be kept."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the teacher says of one clip.

    Attributes:
        frames: of the encoder's last state, float16 [F, D], at the F frames of 20 ms that short
            context has.
        tokens: int64 [N], prompt and transcript, then the end if the teacher came to it.
        num_prompt: int64 [], tokens of the prompt.
        hidden: of the decoder's last state after each token, float16 [N, D]; its embedding makes scores of them.
    """

    frames: Tensor
    tokens: Tensor
    num_prompt: Tensor
    hidden: Tensor


@dataclass(frozen=True, slots=True)
class Lessons:
    """Lessons of a batch, padded with zeros.

    Attributes:
        frames: float32 [B, F, D].
        num_frames: int64 [B].
        tokens: int64 [B, N].
        scored: bool [B, N], places whose next token is of the transcript or its end.
        hidden: float32 [B, N, D].
    """

    frames: Tensor
    num_frames: Tensor
    tokens: Tensor
    scored: Tensor
    hidden: Tensor

    def to(self, device: torch.device) -> "Lessons":
        """The same on a device."""
        return Lessons(**{name: getattr(self, name).to(device) for name in Lessons.__slots__})


def stack(lessons: Sequence[Lesson], end: int) -> Lessons:
    """Lessons of a batch.

    A transcript that never ended is one that runs in circles: nothing of it is scored.

    Args:
        lessons: B of them.
        end: the token that ends a transcript.
    """
    tokens = pad_sequence([lesson.tokens for lesson in lessons], batch_first=True, padding_value=end)
    scored = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, lesson in enumerate(lessons):
        if lesson.tokens[-1] == end:
            scored[row, int(lesson.num_prompt) - 1 : len(lesson.tokens) - 1] = True
    return Lessons(
        frames=pad_sequence([lesson.frames for lesson in lessons], batch_first=True).float(),
        num_frames=torch.tensor([len(lesson.frames) for lesson in lessons]),
        tokens=tokens,
        scored=scored,
        hidden=pad_sequence([lesson.hidden for lesson in lessons], batch_first=True).float(),
    )


class LessonStore:
    """Lessons on the disk, by audio hash."""

    def __init__(self, folder: str | Path, max_gigabytes: float = 20.0) -> None:
        """Open it; nothing is written yet.

        Args:
            folder: of the lessons of all teachers.
            max_gigabytes: that it may grow to, 10 ** 9 bytes.
        """
        self._root = Path(folder)
        self._max_gigabytes = max_gigabytes
        self._used_bytes = sum(file.stat().st_size for file in self._root.rglob("*.safetensors"))

    def get(self, teacher: str, audio_hash: str) -> Lesson | None:
        """The lesson of a clip; None where there is none.

        Args:
            teacher: name of what lessons depend on beside the audio.
            audio_hash: SHA-256 of the waveform.
        """
        path = self._path(teacher, audio_hash)
        return Lesson(**load_file(path)) if path.is_file() else None

    def put(self, teacher: str, audio_hash: str, lesson: Lesson) -> None:
        """Keep a lesson; arguments as in `get`.

        Raises:
            LessonError: no room within `max_gigabytes`, or a value that is not finite in float16.
            OSError: the disk is full.
        """
        tensors = {name: getattr(lesson, name).contiguous() for name in Lesson.__slots__}
        if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
            raise LessonError(f"the teacher's states of clip {audio_hash[:12]} are not finite in float16")
        size = sum(tensor.nbytes for tensor in tensors.values())
        if self._used_bytes + size > self._max_gigabytes * 1e9:
            raise LessonError(
                f"lessons: {self._root} would grow past {self._max_gigabytes:g} GB; empty it, or raise "
                "module.store.max_gigabytes"
            )
        with atomic_path(self._path(teacher, audio_hash)) as aside:
            save_file(tensors, aside)
        self._used_bytes += size

    def _path(self, teacher: str, audio_hash: str) -> Path:
        return self._root / teacher / f"{audio_hash}.safetensors"
