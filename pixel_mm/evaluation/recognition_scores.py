"""What a report says about recognised speech: error rates, by length and speaker, speed, the worst utterances."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.metrics.error_rates import ErrorCounts, Normaliser, Unit, count_errors, normaliser, rate_interval, total

# Of an utterance with some words: what is heard has so little of them that the transcript may be another clip's.
_SUSPECT_RATE, _SUSPECT_WORDS = 0.8, 4

LENGTH_LIMITS = (3.0, 6.0, 10.0, 15.0, 30.0)  # seconds; a bucket holds clips longer than one and up to the next
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class RecognisedClip:
    """One utterance, as it was said and as it was heard.

    Attributes:
        clip: name of the clip.
        speaker: whose it is.
        seconds: its length, above 0.
        reference: what was said; empty where nobody speaks.
        hypothesis: what was recognised, may be empty.
        latency: seconds that recognising it alone took; None where it was recognised together with others.
    """

    clip: str
    speaker: str
    seconds: float
    reference: str
    hypothesis: str
    latency: float | None = None


def recognition_scores(
    transcripts: Sequence[RecognisedClip], normalise_by: Normaliser = "basic", num_worst: int = 20
) -> dict[str, Any]:
    """Score recognised utterances.

    Args:
        transcripts: of a corpus, each clip once.
        normalise_by: see `metrics.error_rates.normaliser`.
        num_worst: at most so many utterances are listed, those with most word errors first.

    Returns:
        Content of `metrics.json`; a number that is undefined, such as the rate of a part without words, is None.

    Raises:
        EvaluateError: there is no clip, or one comes twice.
        ValueError: an unknown normaliser.
    """
    if not transcripts:
        raise EvaluateError("there is no transcribed clip to score; look at the corpus' report of bad clips")
    times = Counter(each.clip for each in transcripts)
    twice = sorted(clip for clip, count in times.items() if count > 1)
    if twice:
        raise EvaluateError(f"clip {twice[0]} is scored more than once ({len(twice)} such clips)")
    same = normaliser(normalise_by)
    texts = [(same(each.reference), same(each.hypothesis)) for each in transcripts]
    words = [count_errors(said, heard) for said, heard in texts]
    return {
        "num_clips": len(transcripts),
        "num_speakers": len({each.speaker for each in transcripts}),
        "seconds": sum(each.seconds for each in transcripts),
        "normaliser": normalise_by,
        "scores": {unit: _entry(_counted(texts, unit), transcripts) for unit in ("word", "character")},
        "by_length": _by_length(transcripts, words),
        "per_speaker": _per_speaker(transcripts, words),
        "speed": _speed(transcripts),
        "worst": _worst(transcripts, texts, words, num_worst),
        "suspect": _suspect(transcripts, words),
    }


def _counted(texts: Sequence[tuple[str, str]], unit: Unit) -> list[ErrorCounts]:
    return [count_errors(said, heard, unit) for said, heard in texts]


def _entry(counts: Sequence[ErrorCounts], transcripts: Sequence[RecognisedClip]) -> dict[str, Any]:
    """Rate, its interval over speakers, and how many errors of each kind."""
    both = total(counts)
    parts = {"substitutions": both.substitutions, "deletions": both.deletions, "insertions": both.insertions}
    return {
        "rate": both.rate if both.references else None,
        "ci95": rate_interval(counts, [each.speaker for each in transcripts]),
        "references": both.references,
        "errors": both.errors,
        **parts,
    }


def _by_length(transcripts: Sequence[RecognisedClip], words: Sequence[ErrorCounts]) -> list[dict[str, Any]]:
    """Word errors of each bucket that has a clip, shortest first."""
    bucket = np.searchsorted(LENGTH_LIMITS, [each.seconds for each in transcripts], side="left")
    limits = (0.0, *LENGTH_LIMITS, None)
    entries = []
    for number in np.unique(bucket):
        rows = np.flatnonzero(bucket == number).tolist()
        inside = [transcripts[row] for row in rows]
        entries.append(
            {
                "above_seconds": limits[number],
                "up_to_seconds": limits[number + 1],
                "num_clips": len(inside),
                **_entry([words[row] for row in rows], inside),
                "speed": _speed(inside),
            }
        )
    return entries


def _per_speaker(transcripts: Sequence[RecognisedClip], words: Sequence[ErrorCounts]) -> dict[str, dict[str, Any]]:
    """Word errors of each speaker, by name."""
    entries = {}
    for speaker in sorted({each.speaker for each in transcripts}):
        own = [count for each, count in zip(transcripts, words, strict=True) if each.speaker == speaker]
        both = total(own)
        rate = both.rate if both.references else None
        entries[speaker] = {"num_clips": len(own), "rate": rate, "references": both.references, "errors": both.errors}
    return entries


def _speed(transcripts: Sequence[RecognisedClip]) -> dict[str, Any] | None:
    """Latency percentiles and the real-time factor of clips recognised alone; None where there is none."""
    timed = [(each.latency, each.seconds) for each in transcripts if each.latency is not None]
    if not timed:
        return None
    latencies, seconds = np.array(timed, np.float64).T
    found = np.percentile(latencies, PERCENTILES)
    return {
        "num_clips": len(timed),
        "real_time_factor": float(latencies.sum() / seconds.sum()),
        "latency": {f"p{name}": float(value) for name, value in zip(PERCENTILES, found, strict=True)},
    }


def _worst(
    transcripts: Sequence[RecognisedClip],
    texts: Sequence[tuple[str, str]],
    words: Sequence[ErrorCounts],
    num_worst: int,
) -> list[dict[str, Any]]:
    """Utterances with word errors, most first, and among those the highest rate, then by name."""
    wrong = [row for row, count in enumerate(words) if count.errors]

    def order(row: int) -> tuple[int, int, str]:
        return -words[row].errors, words[row].references, transcripts[row].clip

    return [
        {
            "clip": transcripts[row].clip,
            "speaker": transcripts[row].speaker,
            "seconds": transcripts[row].seconds,
            "errors": words[row].errors,
            "rate": words[row].rate if words[row].references else None,
            "reference": texts[row][0],
            "hypothesis": texts[row][1],
        }
        for row in sorted(wrong, key=order)[:num_worst]
    ]


def _suspect(transcripts: Sequence[RecognisedClip], words: Sequence[ErrorCounts]) -> list[str]:
    """Names of clips whose transcript may be of another clip."""
    return [
        each.clip
        for each, count in zip(transcripts, words, strict=True)
        if count.references >= _SUSPECT_WORDS and count.hits <= (1 - _SUSPECT_RATE) * count.references
    ]
