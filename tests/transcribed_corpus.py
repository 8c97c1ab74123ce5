"""The tone corpus with transcripts, two of which nobody can learn from."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile


def write_transcribed(tone_corpus: Path, folder: Path, said: Callable[[dict[str, str]], str] | None = None) -> Path:
    """Write a manifest of the tone corpus, whose tones say what they are; returns `folder`.

    The first clip is another recording, of 31 s; the second has a transcript of 1000 words.

    Args:
        tone_corpus: see `write_tone_corpus`.
        folder: to write into.
        said: of a row's columns, if not "This is EMOTION.".
    """
    with (tone_corpus / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        transcript = f"This is {row['emotion']}." if said is None else said(row)
        row |= {"path": str(tone_corpus / row["path"]), "transcript": transcript}
    samples, rate = soundfile.read(rows[0]["path"])
    soundfile.write(folder / "long.wav", np.resize(samples, 31 * rate), rate)
    rows[0] |= {"path": str(folder / "long.wav"), "transcript": "It goes on and on."}
    rows[1]["transcript"] = "is it " * 500
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder
