"""When each word was said, from where the decoder looked in the speech while it wrote the word.

Heads that follow the speech tell how well each token fits each frame. Frames in which nobody speaks are left out, and
the others are dealt to the tokens in their order, each as many as fit it best (dynamic programming; Sakoe & Chiba 1978,
without steps that skip). A pause draws the edge between two words to it; other edges go to the quietest moment nearby.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform
from pixel_mm.inference.pauses import HOP_SAMPLES, find_pauses, levels

FRAME_SAMPLES = 320
_SMOOTHED_FRAMES = 5
_FLOOR = 0.01  # of attention: what is below is looked at by accident
_CUT_SAMPLES = 960  # a pause of 60 ms or more is nobody's frames
# What a pause adds to the score of beginning a word behind it: as much as six frames that fit e times better.
_PAUSE_WORTH, _FULL_WORTH_SAMPLES = 6.0, 4800
_REACH_SAMPLES = 960  # 60 ms, how far an edge is moved
_IMPOSSIBLE = -1e6

Floats = NDArray[np.floating]
Place = tuple[int, int]


def time_words(
    looks: NDArray[np.float32], heads: Sequence[tuple[int, int]], words: Sequence[Sequence[int]], waveform: Waveform
) -> list[tuple[float, float]]:
    """When words begin and end.

    Args:
        looks: of `SpeechDecoder.attention` for one clip, float32 [L, H, N + 1, F] from the prompt's last token to the
            transcript's last: row i is what was looked at for token i, row N for the transcript's end.
        heads: (layer, head) that follow the speech; none takes all of the upper half of the layers.
        words: tokens of each word by their row, ascending; what is no part of a word (signs) has no frames of its own.
        waveform: float32 [T], 16 kHz, of the clip.

    Returns:
        (start, end) in seconds from the clip's first sample, in order; they touch or are apart.
    """
    rows = [row for word in words for row in word]
    num_frames = min(looks.shape[-1], -(-waveform.size // FRAME_SAMPLES))
    pauses = find_pauses(waveform)
    heard = _heard_frames(pauses, num_frames, waveform.size)
    if len(heard) < len(rows):  # more is written than said
        heard = np.arange(num_frames)
    if not rows or len(heard) < len(rows):
        edges = np.linspace(0, waveform.size / SAMPLE_RATE_HZ, len(words) + 1).tolist()
        return list(pairwise(edges))
    fit = _fit(looks, heads)[[*rows, looks.shape[2] - 1]][:, heard]
    behind: dict[int, Place] = {}  # the longest pause before each frame that is heard
    for start, end in sorted(pauses, key=lambda pause: pause[1] - pause[0]):
        behind[int(np.searchsorted(heard, round((start + end) / 2 / FRAME_SAMPLES)))] = (start, end)
    firsts = np.cumsum([0, *map(len, words)])  # rows of `fit` that begin a word, and the end's
    columns = _deal(fit, firsts, behind)
    moments = np.append(heard, num_frames)[columns] * FRAME_SAMPLES
    gaps = _gaps(moments.tolist(), [behind.get(column) for column in columns.tolist()], pauses, levels(waveform))
    return _apart(gaps, waveform.size)


def deal_frames(fit: Floats, bonus: Floats) -> NDArray[np.int64]:
    """Deal frames to tokens in order, one at least to each, so that they fit best.

    Args:
        fit: float [R, C], of each frame to each token; C is R or more.
        bonus: float [R, C], for a token that begins with a frame.

    Returns:
        int64 [R], each token's first frame.
    """
    rows, columns = fit.shape
    total = np.full(rows, -np.inf)
    total[0] = fit[0, 0]
    begun = np.zeros((columns, rows), dtype=bool)
    for column in range(1, columns):
        beginning = np.concatenate([[-np.inf], total[:-1]]) + bonus[:, column]
        begun[column] = beginning > total
        total = np.maximum(total, beginning) + fit[:, column]
    firsts, row = np.zeros(rows, dtype=np.int64), rows - 1
    for column in range(columns - 1, 0, -1):
        if begun[column, row]:
            firsts[row] = column
            row -= 1
    return firsts


def _deal(fit: Floats, firsts: NDArray[np.int64], behind: Mapping[int, Place]) -> NDArray[np.int64]:
    """First frames of words and of the end, which are the rows `firsts`; `behind` which frames there is a pause."""
    # One more frame behind the last, which is the end's alone: a transcript may end with the recording.
    fit = np.pad(fit, ((0, 0), (0, 1)), constant_values=_IMPOSSIBLE)
    fit[-1, -1] = 0.0
    bonus = np.zeros(fit.shape)
    for column, (start, end) in behind.items():
        bonus[firsts, column] = _PAUSE_WORTH * min(1.0, (end - start) / _FULL_WORTH_SAMPLES)
    return deal_frames(fit, bonus)[firsts]


def _fit(looks: NDArray[np.float32], heads: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """How well each frame fits each token, float64 [N + 1, F]: mean logarithm of what the heads looked at."""
    chosen = looks[looks.shape[0] // 2 :].reshape(-1, *looks.shape[2:])
    if heads:
        chosen = np.stack([looks[layer, head] for layer, head in heads])
    smooth = median_filter(chosen.astype(np.float64), size=(1, 1, _SMOOTHED_FRAMES), mode="reflect")
    fit: NDArray[np.float64] = np.log(smooth + _FLOOR).mean(axis=0)
    return fit


def _heard_frames(pauses: Sequence[Place], num_frames: int, num_samples: int) -> NDArray[np.int64]:
    """Frames that are in no pause."""
    heard = np.ones(num_frames, dtype=bool)
    for start, end in pauses:
        if end - start >= _CUT_SAMPLES:
            last = num_frames if end == num_samples else round(end / FRAME_SAMPLES)
            heard[round(start / FRAME_SAMPLES) : last] = False
    return np.flatnonzero(heard)


def _gaps(moments: Sequence[int], known: Sequence[Place | None], pauses: Sequence[Place], level: Floats) -> list[Place]:
    """What is between words whose edges are about at some samples, in order.

    It is the pause that an edge is known to be in; else one near that no other edge is in; else the quietest moment.
    """
    free = [pause for pause in pauses if pause not in known]
    gaps = []
    for moment, gap in zip(moments, known, strict=True):
        if gap is None:
            near = [pause for pause in free if pause[0] - _REACH_SAMPLES <= moment <= pause[1] + _REACH_SAMPLES]
            gap = min(near, key=lambda pause: abs(pause[0] + pause[1] - 2 * moment), default=None)
            free = [pause for pause in free if pause != gap]
        gaps.append(gap or _quietest(moment, level))
    return gaps


def _quietest(moment: int, level: Floats) -> Place:
    first = max(0, (moment - _REACH_SAMPLES) // HOP_SAMPLES)
    around = level[first : (moment + _REACH_SAMPLES) // HOP_SAMPLES]
    quiet = (first + int(around.argmin())) * HOP_SAMPLES if around.size else moment
    return quiet, quiet


def _apart(gaps: Sequence[Place], num_samples: int) -> list[tuple[float, float]]:
    """Words between neighbouring gaps, in seconds; none begins before the last ends, or ends before it begins."""
    found, earliest = [], 0
    for before, after in pairwise(gaps):
        start = min(max(before[1], earliest), num_samples)
        earliest = min(max(after[0], start), num_samples)
        found.append((start / SAMPLE_RATE_HZ, earliest / SAMPLE_RATE_HZ))
    return found
