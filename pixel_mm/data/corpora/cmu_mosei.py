"""CMU-MOSEI (Zadeh et al., ACL 2018): 23,259 rated sentences of YouTube monologues, with sentiment and six emotions.

Labels are in the publisher's computational sequence `CMU_MOSEI_Labels.csd`, an HDF5 file, which takes h5py to read (the
`cmu-mosei` extra). Speakers are not named, so each video stands for one: two videos of one person may be in two parts.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus
from pixel_mm.data.utterance import Utterance

_GROUP = "All Labels"
_SENTIMENT = (-3.0, 3.0)
_EMOTIONS = ("happiness", "sadness", "anger", "surprise", "disgust", "fear")  # columns behind sentiment, each 0..3
_SAME_SENTENCE = 0.5  # of the labelled stretch that a line of the transcript covers


class _Line(NamedTuple):
    """A line of a transcript: seconds, and words."""

    start: float
    end: float
    words: str


class CmuMosei(FolderCorpus):
    """Sentences of monologues. Valence is the rated sentiment; arousal and dominance were not rated."""

    title = "CMU-MOSEI"
    url = "http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/ (raw data, and CMU_MOSEI_Labels.csd)"
    licence = "research only, see the publisher's page; the recordings are their authors'"
    language = "en"
    expected = (
        "CMU_MOSEI_Labels.csd, Audio/Full/WAV_16000/ with a WAV file for each video, and "
        "Transcript/Segmented/Combined/ with a .txt file for each (or these two below Raw/)"
    )

    def utterances(self) -> Iterator[Utterance]:
        """Every labelled sentence: `valence` is (sentiment + 3) / 6; the category is the one strongest emotion."""
        labels = self.require("CMU_MOSEI_Labels.csd", "Labels/CMU_MOSEI_Labels.csd")
        audio = self.require("Audio/Full/WAV_16000", "Raw/Audio/Full/WAV_16000")
        texts = self.require("Transcript/Segmented/Combined", "Raw/Transcript/Segmented/Combined")
        for video, (features, intervals) in _read_labels(labels).items():
            lines = _read_lines(texts / f"{video}.txt")
            for values, (start, end) in zip(features, intervals, strict=True):
                sentiment, *strengths = values.tolist()
                low, high = _SENTIMENT
                yield Utterance(
                    path=audio / f"{video}.wav",
                    speaker=video,
                    start_seconds=max(0.0, float(start)),
                    end_seconds=float(end),
                    language="en",
                    transcript=_words(lines, float(start), float(end)),
                    emotion=_strongest(strengths),
                    ratings={"valence": (sentiment - low) / (high - low)},
                    label_source="rated",
                )


def _read_labels(file: Path) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """By video: ratings [N, 7], and start and end seconds [N, 2]."""
    try:
        import h5py
    except ImportError as error:
        raise CorpusError(
            f"{file} is HDF5, which takes h5py to read; install it: pip install 'pixel_mm[cmu-mosei]'"
        ) from error
    with h5py.File(file) as content:
        if _GROUP not in content or "data" not in content[_GROUP]:
            raise CorpusError(f"{file} has no '{_GROUP}/data', but {', '.join(content) or 'nothing'}")
        videos: Any = content[_GROUP]["data"]
        found = {
            name: (np.asarray(videos[name]["features"], np.float64), np.asarray(videos[name]["intervals"], np.float64))
            for name in sorted(videos)
        }
    for name, (features, intervals) in found.items():
        if features.shape != (len(intervals), 1 + len(_EMOTIONS)) or intervals.shape[1:] != (2,):
            raise CorpusError(
                f"{file}: video {name} has features {features.shape} and intervals {intervals.shape}; they must be "
                f"[N, {1 + len(_EMOTIONS)}] and [N, 2]"
            )
    return found


def _read_lines(file: Path) -> list[_Line]:
    """A transcript: `VIDEO___NUMBER___START___END___WORDS` in each line; none where there is no file."""
    if not file.is_file():
        return []
    lines = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        parts = line.split("___", 4)
        if len(parts) < 5:
            if line.strip():
                raise CorpusError(f"{file}, line {number}: is not VIDEO___NUMBER___START___END___WORDS")
            continue
        lines.append(_Line(float(parts[2]), float(parts[3]), " ".join(parts[4].split())))
    return lines


def _words(lines: list[_Line], start: float, end: float) -> str | None:
    """The line that covers most of a stretch, if it covers half of it; both are numbered differently."""

    def shared(line: _Line) -> float:
        return min(line.end, end) - max(line.start, start)

    best = max(lines, key=shared, default=None)
    covers = best is not None and shared(best) >= _SAME_SENTENCE * (end - start)
    return best.words or None if best is not None and covers else None


def _strongest(strengths: list[float]) -> str | None:
    """The emotion that was rated strongest; "neutral" where all are 0, None where several are alike."""
    top = max(strengths)
    if top <= 0:
        return "neutral"
    names = [name for name, strength in zip(_EMOTIONS, strengths, strict=True) if strength == top]
    return names[0] if len(names) == 1 else None
