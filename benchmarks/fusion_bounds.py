"""What the definition of constructed pairs allows: how good somebody is who knows the rating of every voice.

A CCC is never above Pearson's r, and of all estimates made from some knowledge the target's mean given that knowledge
correlates best with it. Words and voices are put together by chance, so that this mean can be computed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fusion_agreement import Agreement, pooled
from benchmarks.fusion_folds import HEARD
from benchmarks.report import Measure
from pixel_mm.data.fusion.constructed_pairs import joint_valence
from pixel_mm.metrics.concordance import concordance, pearson

_BANDWIDTH = 0.25  # of the kernel over what a reader says, in standard deviations
_DRAWS = 20
_JOINT = np.vectorize(joint_valence, otypes=[np.float64])
Floats = NDArray[np.float64]
Names = NDArray[np.str_]


def expected_valence(voices: Floats, said: Floats, words: Floats, texts: Names) -> Floats:
    """Mean target valence of each pair, given the rating of its voice and what a reader says of its words.

    The words' own ratings are taken to be distributed like those of the sentences of which the reader says about the
    same (Nadaraya 1964, Watson 1964; Gaussian kernel).

    Args:
        voices: [N] ratings of the voices.
        said: [N] by the reader; a constant for somebody who knows no words.
        words: [N] stretched ratings of the words.
        texts: [N]; a pair learns nothing from those with its own sentence.

    Returns:
        [N].
    """
    levels, level = np.unique(voices, return_inverse=True)
    targets = _JOINT(words[:, None], levels)
    apart = (said[:, None] - said) / (_BANDWIDTH * (said.std() or 1.0))
    weights = np.exp(-0.5 * apart**2) * (texts[:, None] != texts)
    means: Floats = (weights @ targets / weights.sum(1, keepdims=True))[np.arange(len(voices)), level]
    return means


def misled(pairs: Mapping[str, Any], seed: int) -> float:
    """Mean CCC of somebody who knows all ratings and the definition, but takes another clip's voice for the pair's.

    Args:
        pairs: `words`, `clips` [N], `voices` and `targets` by name, each [N].
        seed: of the other clips' draw.
    """
    clips, first, number = np.unique(pairs["clips"], return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(clips))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    heard = {name: np.array(values)[first][other][number] for name, values in pairs["voices"].items()}
    said = heard | {"valence": _JOINT(np.array(pairs["words"]), heard["valence"])}
    return float(np.mean([concordance(said[name], values) for name, values in pairs["targets"].items()]))


def known_of(every: Agreement) -> tuple[dict[str, Any], Floats, float]:
    """Arguments of `bounds`. What the words alone say is standardised within each fold: trainings differ in scale."""
    pairs: dict[str, Any] = {name: pooled(every.folds, name) for name in ("words", "texts", "clips")}
    pairs |= {kind: {name: pooled(every.folds, kind, name) for name in HEARD} for kind in ("voices", "targets")}
    said = [np.array(fold["scores"]["text only"]["valence"])[:, 0] for fold in every.folds]
    reader = np.concatenate([(each - each.mean()) / each.std() for each in said])
    return pairs, reader, every.mean("text only")[0]


def bounds(pairs: Mapping[str, Any], reader: Floats, reader_alone: float) -> list[Measure]:
    """What a perfect ear would gain from words, and how a wrong voice would mislead it, as measures without a target.

    No bounds to the gain over a worse ear, whose baseline may be further from its own best.

    Args:
        pairs: as for `misled`, and `texts`.
        reader: [N] valence that the baseline of words alone says.
        reader_alone: mean CCC of that baseline.
    """
    voices, words = np.array(pairs["voices"]["valence"]), np.array(pairs["words"])
    texts, targets = np.array(pairs["texts"]), np.array(pairs["targets"]["valence"])
    found = {
        name: pearson(expected_valence(voices, said, words, texts), targets)
        for name, said in (("voice", np.zeros(len(words))), ("both", reader))
    }
    what = "CCC of valence that nobody is above who knows each voice's rating"
    wrong = float(np.mean([misled(pairs, seed) for seed in range(_DRAWS)]))
    return [
        Measure("2-bound-voice", f"{what}, and no words", found["voice"], "CCC"),
        Measure("2-bound-both", f"{what}, and what text only says of the words", found["both"], "CCC"),
        Measure(
            "2-bound-gain",
            "mean CCC of valence and arousal that such words add to a perfect ear",
            (found["both"] - found["voice"]) / 2,
            "CCC",
        ),
        Measure(
            "2-bound-fallback",
            "mean CCC above text only of somebody who knows all ratings, given a wrong voice and believing it",
            wrong - reader_alone,
            "CCC",
        ),
    ]
