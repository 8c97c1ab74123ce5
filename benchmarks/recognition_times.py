"""When words were said: against recordings in which it is known to the sample, cut and joined from clips.

    python -m benchmarks.recognition_times --output FILE.json --model whisper_tiny_en=MODEL_DIR \
        [--model whisper_base=MODEL_DIR] [--precision int8] [--librispeech-root DIR] [--part test-other] [--quick]

Measure 5 (the number is that of the target). Clips are cut in their pauses into phrases of 0.6 to 6 s, each from where
it rises to 30 dB below its clip's loud parts to where it falls below that again. Phrases of different clips are joined
in random order into recordings of up to 25 s, with 0 to 0.8 s of their clip's background noise between them. The first
word of a phrase begins, and the last one ends, at a known sample. What the words are, the model itself says of each
phrase alone; an edge counts if it hears the same words on both sides of it in the joined recording, and nothing between
them (which share does is shown). Errors are absolute, in milliseconds, of beginnings and ends alike; their intervals
are bootstrapped over recordings.

MODEL_DIR is written by `python -m pixel_mm.export target=recognizer`; NAME only names it here. The timing was tuned on
train-clean-100, built the same way (--part train-clean-100). About three minutes a model on two cores; --quick takes
four clips.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from benchmarks.report import Measure, print_table, write_report
from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from pixel_mm.data.corpora.librispeech import LibriSpeech
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.metrics.error_rates import normaliser

BELOW_LOUD_DB = 30.0
SHORTEST_PAUSE_SECONDS = 0.15
PHRASE_SECONDS = (0.6, 6.0)
GAPS_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
LONG_GAP_SECONDS = 0.1
RECORDING_SECONDS = (4.0, 25.0)
PHRASES_OF_A_CLIP = 3
_HOP = 80  # 5 ms
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Phrase:
    """A stretch of speech without a pause: its samples, float32 at 16 kHz, and its clip's noise (root mean square)."""

    waveform: Waveform
    noise: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A recording made of phrases: its samples, and each phrase with its first sample."""

    waveform: Waveform
    phrases: tuple[tuple[int, Phrase], ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a phrase.

    Attributes:
        recording: number of it.
        gap_seconds: to the next phrase; infinity where there is none.
        error_seconds: of the word's time; None where other words were heard beside the edge.
    """

    recording: int
    gap_seconds: float
    error_seconds: float | None


def cut(clip: Waveform) -> list[Phrase]:
    """The phrases of a clip, float32 [samples] at 16 kHz; the first few that are neither too short nor too long."""
    hops = clip[: clip.size // _HOP * _HOP].reshape(-1, _HOP).astype(np.float64)
    energy = np.square(hops).mean(axis=1)
    smooth = np.convolve(energy, np.ones(4) / 4, "same")
    loud = np.flatnonzero(smooth > np.percentile(smooth, 95) * 10 ** (-BELOW_LOUD_DB / 10))
    breaks = np.flatnonzero(np.diff(loud) > SHORTEST_PAUSE_SECONDS * SAMPLE_RATE_HZ / _HOP)
    starts, ends = loud[np.concatenate([[0], breaks + 1])] * _HOP, (loud[np.concatenate([breaks, [-1]])] + 1) * _HOP
    noise = float(np.sqrt(np.percentile(energy, 5)))
    pieces = [clip[start:end] for start, end in zip(starts, ends, strict=True)]
    shortest, longest = (seconds * SAMPLE_RATE_HZ for seconds in PHRASE_SECONDS)
    return [Phrase(piece, noise) for piece in pieces if shortest <= piece.size <= longest][:PHRASES_OF_A_CLIP]


def join(phrases: Sequence[Phrase], seed: int = 0) -> list[Joined]:
    """Recordings of all phrases, in random order, with random gaps."""
    rng = np.random.default_rng(seed)
    waiting = [phrases[place] for place in rng.permutation(len(phrases))]
    found = []
    while waiting:
        longest = rng.uniform(*RECORDING_SECONDS) * SAMPLE_RATE_HZ
        pieces: list[np.ndarray] = [_noise(waiting[0], rng)]
        placed: list[tuple[int, Phrase]] = []
        while waiting and (not placed or sum(map(len, pieces)) + waiting[0].waveform.size <= longest):
            phrase = waiting.pop(0)
            placed.append((sum(map(len, pieces)), phrase))
            pieces += [phrase.waveform, _noise(phrase, rng)]
        found.append(Joined(np.concatenate(pieces).astype(np.float32), tuple(placed)))
    return found


def edges(number: int, joined: Joined, recognizer: SpeechRecognizer, alone: Mapping[int, str]) -> list[Edge]:
    """Errors at the edges of the phrases of a recording.

    Args:
        number: of the recording.
        joined: the recording.
        recognizer: with words.
        alone: what it hears in each phrase alone, by the phrase's id.
    """
    plain = normaliser("basic")
    heard = recognizer(joined.waveform, SAMPLE_RATE_HZ).words
    said = [[plain(word).strip() for word in split_words(alone[id(phrase)])] for _, phrase in joined.phrases]
    matcher = SequenceMatcher(
        None, [word for words in said for word in words], [plain(word.text).strip() for word in heard], autojunk=False
    )
    same = {block.a + step: block.b + step for block in matcher.get_matching_blocks() for step in range(block.size)}
    total = sum(map(len, said))
    same |= {-1: -1, total: len(heard)}  # what is before and behind all words
    found, first = [], 0
    ends = [start + phrase.waveform.size for start, phrase in joined.phrases]
    starts = [start for start, _ in joined.phrases]
    for place, words in enumerate(said):
        last = first + len(words) - 1
        before = starts[place] - ends[place - 1] if place else np.inf
        after = starts[place + 1] - ends[place] if place + 1 < len(said) else np.inf
        if words:
            begun = ended = None
            if first in same and same.get(first - 1) == same[first] - 1:
                begun = heard[same[first]].start_seconds - starts[place] / SAMPLE_RATE_HZ
            if last in same and same.get(last + 1) == same[last] + 1:
                ended = heard[same[last]].end_seconds - ends[place] / SAMPLE_RATE_HZ
            found += [Edge(number, before / SAMPLE_RATE_HZ, begun), Edge(number, after / SAMPLE_RATE_HZ, ended)]
        first = last + 1
    return found


def measures(name: str, found: Sequence[Edge]) -> list[Measure]:
    """Median and 95th percentile over all edges, then by what is beside them."""
    right = [edge for edge in found if edge.error_seconds is not None]
    recordings = len({edge.recording for edge in found})
    setting = f"{len(right)} edges of words in {recordings} recordings"
    made = [
        _measure(f"5-{name}-median", f"{name}, {setting}: median error", right, 50, "<= 50"),
        _measure(f"5-{name}-p95", f"{name}, {setting}: 95th percentile of the error", right, 95, "<= 100"),
    ]
    near = [edge for edge in right if edge.gap_seconds < LONG_GAP_SECONDS]
    far = [edge for edge in right if edge.gap_seconds >= LONG_GAP_SECONDS]
    beside = f"of {LONG_GAP_SECONDS:g} s or more, or none beside it"
    for key, what, edges_of in (("gap", beside, far), ("hard", f"below {LONG_GAP_SECONDS:g} s", near)):
        text = f"{name}, {len(edges_of)} edges with a gap {what}: 95th percentile of the error"
        made.append(_measure(f"5-{name}-p95-{key}", text, edges_of, 95, None))
    share = 100 * len(right) / len(found) if found else None
    made.append(
        Measure(
            f"5-{name}-words",
            f"{name}: edges with the words beside them that are heard in the phrases alone",
            share,
            "%",
        )
    )
    return made


def _measure(key: str, what: str, found: Sequence[Edge], percentile: float, target: str | None) -> Measure:
    errors: dict[int, list[float]] = {}
    for edge in found:
        errors.setdefault(edge.recording, []).append(1000 * abs(edge.error_seconds or 0.0))
    if not errors:
        return Measure(key, what, None, "ms", target)
    groups = [np.array(group) for group in errors.values()]
    rng = np.random.default_rng(0)
    drawn = [
        np.percentile(
            np.concatenate([groups[place] for place in rng.integers(0, len(groups), len(groups))]), percentile
        )
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = float(np.percentile(np.concatenate(groups), percentile))
    return Measure(key, what, value, "ms", target, (float(low), float(high)))


def _noise(phrase: Phrase, rng: np.random.Generator) -> np.ndarray:
    return phrase.noise * rng.standard_normal(round(rng.choice(GAPS_SECONDS) * SAMPLE_RATE_HZ))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    options = _parse(arguments)
    utterances = LibriSpeech(options.librispeech_root, options.part).read()
    # Evenly over the speakers, and no more clips than test-other has.
    chosen = utterances[:: max(1, len(utterances) // 50)][: 4 if options.quick else 50]
    phrases = [phrase for each in chosen for phrase in cut(read_audio(each.path).waveform)]
    recordings = join(phrases)
    found = []
    for name, folder in (entry.split("=", 1) for entry in options.model):
        recognizer = SpeechRecognizer.load(folder, precision=options.precision, num_threads=options.threads, words=True)
        alone = {id(phrase): recognizer(phrase.waveform, SAMPLE_RATE_HZ).text for phrase in phrases}
        found += measures(name, [
            edge for number, joined in enumerate(recordings) for edge in edges(number, joined, recognizer, alone)
        ])  # fmt: skip
    print_table(found)
    write_report(options.output, "recognition_times", found, options.quick)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=DIR", help="see above")
    parser.add_argument("--precision", choices=("float32", "float16", "int8"), default="float32")
    parser.add_argument(
        "--librispeech-root", type=Path, default=Path(os.environ.get("PIXEL_MM_DATA", "."), "librispeech"),
        help="default: below PIXEL_MM_DATA",
    )  # fmt: skip
    parser.add_argument("--part", default="test-other", help="of LibriSpeech; transcripts are not needed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="four clips; its numbers mean nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
