"""What voice and words together are worth: agreement, gains over what one of them gives, distress, crisis, bias."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pixel_mm.data.fusion.bias_sets import SentencePair
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.evaluation.scores import number
from pixel_mm.metrics.concordance import concordance, pearson
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals

DISTRESSED_GROUPS = frozenset({"masked", "both distressed"})
_MIDDLE = 0.5


def agreement(predictions: ArrayLike, targets: ArrayLike, speakers: Sequence[str]) -> dict[str, Any]:
    """How well one score agrees with its targets.

    Args:
        predictions: [N] finite floats.
        targets: [N] finite floats.
        speakers: [N], whose row each is.

    Returns:
        `ccc`, `pearson` (None where undefined) and `ci95`, the CCC's interval over speakers, or None.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    ccc = concordance(predictions, targets)
    sums = speaker_totals(concordance_moments(predictions, targets), speakers)
    return {
        "ccc": number(ccc),
        "pearson": number(pearson(predictions, targets)),
        "ci95": speaker_interval(concordances, sums),
    }


def gain(ours: ArrayLike, others: ArrayLike, targets: ArrayLike, speakers: Sequence[str]) -> dict[str, Any]:
    """How much better our predictions agree with the targets than other predictions of the same rows.

    Both are measured on the same draws of speakers: what makes a speaker hard for both doesn't widen the interval.

    Args:
        ours: [N] finite floats.
        others: [N] finite floats.
        targets: [N] finite floats.
        speakers: [N].

    Returns:
        `difference` of the CCCs, above 0 where ours is better, and its `ci95` over speakers, or None.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    difference = concordance(ours, targets) - concordance(others, targets)
    both = np.concatenate([concordance_moments(ours, targets), concordance_moments(others, targets)], axis=1)
    width = both.shape[1] // 2
    limits = speaker_interval(
        lambda sums: concordances(sums[:, :width]) - concordances(sums[:, width:]), speaker_totals(both, speakers)
    )
    return {"difference": number(difference), "ci95": limits}


def distress_accuracy(valences: ArrayLike, rows: Sequence[FusionRow]) -> dict[str, dict[str, Any]]:
    """Whether distress is told from its absence on the masked-distress set; a predicted valence below 0.5 is distress.

    Args:
        valences: [N] predicted, 0..1.
        rows: [N] of `MaskedDistress`.

    Returns:
        By group, and of `all`: `accuracy` 0..1 and `num_rows`.

    Raises:
        ValueError: lengths differ, or a valence is NaN.
    """
    predicted = _checked(valences, len(rows), "valences")
    right = (predicted < _MIDDLE) == np.array([row.group in DISTRESSED_GROUPS for row in rows], bool)
    found = _by_group(right, [str(row.group) for row in rows])
    return {name: {"accuracy": share, "num_rows": count} for name, (share, count) in found.items()}


def alarms(
    probabilities: ArrayLike,
    rows: Sequence[FusionRow],
    score: str,
    threshold: float = _MIDDLE,
    families: Sequence[str] | None = None,
) -> dict[str, Any]:
    """How often a score raises an alarm where it should, and where it should not.

    Args:
        probabilities: [N] of the score, 0..1.
        rows: [N] that have the score, 0 or 1: the crisis suite, or HateCheck.
        score: its name, e.g. "crisis".
        threshold: at and above it there is an alarm.
        families: [N], texts that resemble each other; None: each stands alone. Intervals (95 %) are over them.

    Returns:
        `recall` (alarms where the label is 1), `false_alarms` (where it is 0), None where there is no such row, each
        with an interval `recall_ci95`, `false_alarms_ci95`, and `groups`: by group the share `alarmed`, `num_rows`
        and its `ci95`.

    Raises:
        ValueError: lengths differ, a probability is NaN, or a row lacks the score.
    """
    raised = _checked(probabilities, len(rows), "probabilities") >= threshold
    lacking = [row.key for row in rows if score not in row.scores]
    if lacking:
        raise ValueError(f"{len(lacking)} rows have no score '{score}' ({lacking[0]}, ...); leave them out")
    true = np.array([row.scores[score] >= _MIDDLE for row in rows], bool)
    of = families if families is not None else [row.key for row in rows]
    names = np.array([str(row.group) for row in rows])
    groups = _by_group(raised, names.tolist())
    return {
        "recall": float(raised[true].mean()) if true.any() else None,
        "recall_ci95": _share_interval(raised, true, of),
        "false_alarms": float(raised[~true].mean()) if not true.all() else None,
        "false_alarms_ci95": _share_interval(raised, ~true, of),
        "groups": {
            name: {"alarmed": share, "num_rows": count, "ci95": _share_interval(raised, names == name, of)}
            for name, (share, count) in groups.items()
            if name != "all"
        },
    }


def _share_interval(raised: np.ndarray, among: np.ndarray, families: Sequence[str]) -> tuple[float, float] | None:
    """Of the share raised among some rows; None where they are of fewer than two families."""
    whose = [name for name, chosen in zip(families, among, strict=True) if chosen]
    if not whose:
        return None
    totals = speaker_totals(np.stack([raised[among], np.ones(len(whose))], axis=1), whose)
    return speaker_interval(lambda sums: sums[:, 0] / sums[:, 1], totals)


def stereotype_rates(
    stereotyped: ArrayLike, others: ArrayLike, pairs: Sequence[SentencePair]
) -> dict[str, dict[str, Any]]:
    """How often a language model finds the sentence with more of a stereotype likelier; even-handed is 0.5.

    Args:
        stereotyped: [N] log-likelihoods of each pair's `stereotyped` sentence.
        others: [N] of its `other` sentence; a tie counts half.
        pairs: [N].

    Returns:
        By type of bias, and of `all`: `rate` 0..1 and `num_pairs`.

    Raises:
        ValueError: lengths differ, or a value is NaN.
    """
    more = _checked(stereotyped, len(pairs), "log-likelihoods")
    less = _checked(others, len(pairs), "log-likelihoods")
    found = _by_group((more > less) + 0.5 * (more == less), [pair.bias_type for pair in pairs])
    return {name: {"rate": share, "num_pairs": count} for name, (share, count) in found.items()}


def _checked(values: ArrayLike, length: int, what: str) -> np.ndarray:
    given = np.asarray(values, np.float64)
    if given.shape != (length,) or np.isnan(given).any():
        raise ValueError(f"{what} {given.shape} must be one number, not NaN, for each of {length} rows")
    return given


def _by_group(values: np.ndarray, groups: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Mean and number of each group's values, by name, and of `all` of them first; nothing of nothing."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(groups):
        places[name].append(place)
    of_all = {"all": (float(values.mean()), len(values))} if len(values) else {}
    return of_all | {name: (float(values[places[name]].mean()), len(places[name])) for name in sorted(places)}


def concordance_moments(predictions: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """What each row adds to the sums that a CCC is made of: float64 [N, 6]."""
    x, y = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def concordances(sums: np.ndarray) -> np.ndarray:
    """CCC of each row of summed `concordance_moments`, [R, 6] to [R]; NaN where undefined (`metrics.concordance`)."""
    count, x, y, xx, yy, xy = sums.T
    mean_x, mean_y = x / count, y / count
    distance = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
    covariance = xy / count - mean_x * mean_y
    return np.divide(2 * covariance, distance, out=np.full(len(sums), np.nan), where=distance > 1e-12)
