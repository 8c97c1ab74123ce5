"""WAV files and label files for the small corpora that tests build in the publishers' layouts."""

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile


def write_clip(path: Path) -> Path:
    """A tenth of a second of a tone, 16 kHz mono, at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_wav_bytes())
    return path


def write_clips(folder: Path, names: Sequence[str]) -> Path:
    """One clip for every name below `folder`; returns the folder."""
    for name in names:
        write_clip(folder / name)
    return folder


def write_text(path: Path, *lines: str) -> Path:
    """A text file of these lines, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@cache
def _wav_bytes() -> bytes:
    file = BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(1600) / 10), 16_000, format="WAV")
    return file.getvalue()
