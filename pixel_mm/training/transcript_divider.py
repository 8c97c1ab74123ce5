"""Divides a long recording and its transcript: a recogniser hears the stretches between pauses, words are compared.

A recording is divided in a pause, and only where the last word heard before it and the first one after it stand side
by side in the transcript. What is learnt is the transcript's own words; what was heard only tells where they part.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jiwer
import torch
from hydra.utils import instantiate

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ, Waveform, normalise_level
from pixel_mm.data.corpora.divided import Division, DivisionError
from pixel_mm.inference.voice_activity import VoiceActivity, speech_stretches
from pixel_mm.metrics.error_rates import normaliser
from pixel_mm.models.freezing import fingerprint
from pixel_mm.models.speech_recognition.writing import Writing
from pixel_mm.runs import write_json

Place = tuple[int, int]

_PIECE_SAMPLES = 12 * SAMPLE_RATE_HZ  # that are heard at once; a longer stretch without a pause is heard whole
_LONGEST_PART = MAX_SAMPLES - SAMPLE_RATE_HZ // 10
_WORST_MATCH = 0.5  # share of a part's words that have to be heard as they are written
_AT_ONCE = 8


class TranscriptDivider:
    """See `pixel_mm.data.corpora.divided.Divider`. The recogniser is loaded for the first long recording."""

    def __init__(self, recognizer: Any, folder: str | Path) -> None:
        """Choose the recogniser.

        Args:
            recognizer: a choice of `conf/recognizer`, not instantiated: one that writes the transcripts' language.
            folder: where divisions are kept for later runs.
        """
        self._recognizer, self._folder = recognizer, Path(folder)
        self._loaded: tuple[Any, Writing, VoiceActivity, str] | None = None

    def __call__(self, waveform: Waveform, transcript: str) -> list[Division]:
        """Divide. See `Divider`."""
        _, _, voice_activity, name = self._load()
        key = sha256(waveform.tobytes() + f"{name}\n{transcript}".encode()).hexdigest()
        kept = self._folder / f"{key}.json"
        if kept.is_file():
            return [Division(*each) for each in json.loads(kept.read_text(encoding="utf-8"))]
        pieces = find_pieces(speech_stretches(voice_activity.probabilities([waveform]), waveform.size))
        heard = self._hear([normalise_level(waveform[start:end]) for start, end in pieces])
        divisions = divide(pieces, heard, transcript)
        write_json(kept, divisions)
        return divisions

    def _hear(self, clips: Sequence[Waveform]) -> list[str]:
        network, writing, *_ = self._load()
        batches = [clips[first : first + _AT_ONCE] for first in range(0, len(clips), _AT_ONCE)]
        return [text for batch in batches for text in writing.transcribe(network, batch)]

    def _load(self) -> tuple[Any, Writing, VoiceActivity, str]:
        if self._loaded is None:
            network = instantiate(self._recognizer.network).eval()
            network.to("cuda" if torch.cuda.is_available() else "cpu")
            writing = instantiate(self._recognizer.writing)
            name = f"{fingerprint(network.state_dict())} {writing.fingerprint(network)}"
            self._loaded = network, writing, VoiceActivity.load(), name
        return self._loaded


def find_pieces(stretches: Sequence[Place]) -> list[Place]:
    """Speech between pauses, neighbours together up to 12 s.

    Args:
        stretches: (start, end) in samples of each stretch of speech, in order.

    Raises:
        DivisionError: nobody speaks, or somebody does for 30 s without a pause.
    """
    pieces: list[Place] = []
    for start, end in stretches:
        if end - start > _LONGEST_PART:
            raise DivisionError(f"nobody pauses from {start / SAMPLE_RATE_HZ:.1f} s to {end / SAMPLE_RATE_HZ:.1f} s")
        if pieces and end - pieces[-1][0] <= _PIECE_SAMPLES:
            start = pieces.pop()[0]
        pieces.append((start, end))
    if not pieces:
        raise DivisionError("nobody speaks in it")
    return pieces


def divide(pieces: Sequence[Place], heard: Sequence[str], transcript: str) -> list[Division]:
    """Parts of 30 s at most, each as long as can be.

    Args:
        pieces: of `find_pieces`.
        heard: what was understood of each.
        transcript: what is said in all of them.

    Raises:
        DivisionError: 30 s of pieces without a place between them where the transcript surely parts, or a part that
            was heard otherwise.
    """
    words = transcript.split()
    cuts = {0: 0} | _sure_cuts(heard, words) | {len(pieces): len(words)}
    found, first = [], 0
    while first < len(pieces):
        fitting = [last for last in cuts if last > first and pieces[last - 1][1] - pieces[first][0] <= _LONGEST_PART]
        if not fitting:
            seconds = pieces[first][0] / SAMPLE_RATE_HZ
            raise DivisionError(
                f"within 30 s from {seconds:.1f} s on, no pause has the words around it that were heard"
            )
        last = max(fitting)
        text = " ".join(words[cuts[first] : cuts[last]])
        _check_heard(text, " ".join(heard[first:last]), pieces[first][0] / SAMPLE_RATE_HZ)
        found.append(Division(pieces[first][0], pieces[last - 1][1], text))
        first = last
    return found


def _sure_cuts(heard: Sequence[str], words: Sequence[str]) -> dict[int, int]:
    """Number of the transcript's words before each place between pieces where that is sure, by number of pieces."""
    same = normaliser("basic")
    said = [(part, number) for number, word in enumerate(words) for part in same(word).split()]
    pieces = [same(text).split() for text in heard]
    understood = [part for piece in pieces for part in piece]
    if not said or not understood:
        return {}
    partner: dict[int, int] = {}  # place in `said` of what was understood as it is written
    for chunk in jiwer.process_words(" ".join(part for part, _ in said), " ".join(understood)).alignments[0]:
        if chunk.type == "equal":
            partner |= {
                chunk.hyp_start_idx + step: chunk.ref_start_idx + step
                for step in range(chunk.ref_end_idx - chunk.ref_start_idx)
            }
    cuts, place = {}, 0
    for number, piece in enumerate(pieces[:-1], start=1):
        place += len(piece)
        before, after = partner.get(place - 1), partner.get(place)
        if before is not None and after == before + 1 and said[before][1] != said[after][1]:
            cuts[number] = said[after][1]
    return cuts


def _check_heard(text: str, heard: str, seconds: float) -> None:
    same = normaliser("basic")
    said, understood = same(text).split(), same(heard).split()
    hits = jiwer.process_words(" ".join(said), " ".join(understood)).hits if said and understood else 0
    if hits < _WORST_MATCH * max(len(said), len(understood)):
        raise DivisionError(
            f"from {seconds:.1f} s on, '{heard[:40]}' is heard where '{text[:40]}' is written; is it of another clip?"
        )
