"""Who is trained on and who is tested on: parts of a corpus that share no speaker.

A split is a function from utterances to `Parts`, so a config names one by `_target_` with `_partial_: true`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pixel_mm.data.utterance import Utterance


class SplitError(ValueError):
    """A split whose numbers would be worth nothing, or that cannot be made; the message says why."""


class Parts(NamedTuple):
    """Row numbers of the utterances of each part, ascending. A part may be empty."""

    train: list[int]
    validation: list[int]
    test: list[int]


SpeakerSplit = Callable[[Sequence[Utterance]], Parts]


def check_speaker_disjoint(*parts: Sequence[Utterance]) -> None:
    """Refuse parts that share a speaker.

    Args:
        parts: the utterances of each part.

    Raises:
        SplitError: names the shared speakers.
    """
    counts = Counter(speaker for part in parts for speaker in {utterance.speaker for utterance in part})
    shared = sorted(speaker for speaker, count in counts.items() if count > 1)
    if shared:
        names = ", ".join(shared[:10]) + (f" and {len(shared) - 10} more" if len(shared) > 10 else "")
        raise SplitError(
            f"the split shares {len(shared)} speakers between its parts ({names}); what is tested on a speaker who was "
            "trained on is worth nothing. Split by speaker: splits.hold_out does"
        )


def hold_out(utterances: Sequence[Utterance], fractions: Mapping[str, float], seed: int) -> Parts:
    """Keep whole speakers for validation and test, drawn by seed, women and men in turn.

    Args:
        utterances: the corpus.
        fractions: "validation" and "test", each the share of the clips, 0..1 (0: the part stays empty); the rest is
            trained on. A part gets speakers until one more would take it further from its share, and at least one.
        seed: of the draw.

    Raises:
        SplitError: fractions that leave nothing to train on, or too few speakers.
    """
    unknown = set(fractions) - {"validation", "test"}
    if unknown or any(not 0 <= share < 1 for share in fractions.values()) or sum(fractions.values()) >= 1:
        raise SplitError(
            f"fractions {dict(fractions)}; give 'validation' and 'test', each from 0 to 1, together less than 1"
        )
    clips = Counter(utterance.speaker for utterance in utterances)
    wanted = [name for name in ("test", "validation") if fractions.get(name, 0.0) > 0]
    if len(clips) < len(wanted) + 1:
        raise SplitError(
            f"{len(clips)} speakers cannot be split into train, {' and '.join(wanted)}; set a fraction to 0"
        )
    queue = _speakers_in_turn(utterances, seed)
    chosen: dict[str, set[str]] = {"test": set(), "validation": set()}
    for place, name in enumerate(wanted):
        spare = len(queue) - (len(wanted) - place)  # each part that follows, and training, needs a speaker too
        target, filled = fractions[name] * len(utterances), 0
        for speaker in queue[:spare]:
            if chosen[name] and abs(filled + clips[speaker] - target) >= abs(filled - target):
                break
            chosen[name].add(speaker)
            filled += clips[speaker]
        queue = queue[len(chosen[name]) :]
    rows = {name: [row for row, u in enumerate(utterances) if u.speaker in chosen[name]] for name in chosen}
    held = chosen["test"] | chosen["validation"]
    train = [row for row, utterance in enumerate(utterances) if utterance.speaker not in held]
    return Parts(train, rows["validation"], rows["test"])


def speaker_folds(utterances: Sequence[Utterance], num_folds: int, seed: int) -> list[set[str]]:
    """Speakers of each of so many folds; sexes and clips are spread evenly.

    Speakers with most clips come first, each into the part that has fewest of this sex, then fewest clips.

    Raises:
        SplitError: fewer than two folds, or more than speakers.
    """
    clips = Counter(u.speaker for u in utterances)
    if not 2 <= num_folds <= len(clips):
        raise SplitError(f"num_folds={num_folds}; with {len(clips)} speakers give 2 to {len(clips)}")
    sex = {u.speaker: u.sex for u in utterances}
    order = [str(name) for name in np.random.default_rng(seed).permutation(sorted(clips))]
    parts: list[set[str]] = [set() for _ in range(num_folds)]
    for speaker in sorted(order, key=lambda name: -clips[name]):  # stable: ties stay as drawn
        same_sex = [sum(sex[other] == sex[speaker] for other in part) for part in parts]
        size = [sum(clips[other] for other in part) for part in parts]
        parts[min(range(num_folds), key=lambda part: (same_sex[part], size[part]))].add(speaker)
    return parts


def fold(utterances: Sequence[Utterance], number: int, num_folds: int, seed: int = 0) -> Parts:
    """One of so many folds whose test parts together are everybody, each speaker once; another fold validates.

    Folds validate each other in twos as far as they go (the last with the first, the second with the third): both are
    trained on the same speakers, so that what is trained before, such as an emotion model, serves both.

    Args:
        utterances: the corpus.
        number: of the fold, from 0.
        num_folds: how many there are, at least 3.
        seed: of the speakers' draw, the same for all folds.

    Raises:
        SplitError: no such fold, or too few speakers.
    """
    if not 0 <= number < num_folds or num_folds < 3:
        raise SplitError(f"number={number} of num_folds={num_folds}; give 3 folds or more, and 0 to num_folds - 1")
    folds = speaker_folds(utterances, num_folds, seed)
    test, validation = folds[number], folds[validating_fold(number, num_folds)]
    train = set().union(*folds) - test - validation
    return Parts(
        *([row for row, u in enumerate(utterances) if u.speaker in part] for part in (train, validation, test))
    )


def validating_fold(number: int, num_folds: int) -> int:
    """Number of the fold that validates, see `fold`."""
    return (number + (1 if number % 2 else -1)) % num_folds


def published(utterances: Sequence[Utterance]) -> Parts:
    """The split that the corpus's publisher gives.

    Raises:
        SplitError: an utterance without a part, or parts that share speakers.
    """
    missing = [utterance.key for utterance in utterances if utterance.split is None]
    if missing:
        raise SplitError(
            f"{len(missing)} of {len(utterances)} utterances have no published split ({missing[0]}, ...); "
            "use splits.hold_out"
        )
    parts = Parts(
        *([row for row, utterance in enumerate(utterances) if utterance.split == name] for name in Parts._fields)
    )
    check_speaker_disjoint(*([utterances[row] for row in part] for part in parts))
    return parts


def published_or_hold_out(utterances: Sequence[Utterance], fractions: Mapping[str, float], seed: int) -> Parts:
    """`published` where every utterance has a published part, else `hold_out`.

    Raises:
        SplitError: see those.
    """
    if utterances and all(utterance.split is not None for utterance in utterances):
        return published(utterances)
    return hold_out(utterances, fractions, seed)


def _speakers_in_turn(utterances: Sequence[Utterance], seed: int) -> list[str]:
    """Speakers in a seeded order that takes the sexes in turn, so that two held-out speakers are not of one sex."""
    sexes: dict[str, str] = {}
    for utterance in utterances:
        sexes.setdefault(utterance.speaker, utterance.sex or "")
    speakers = sorted(sexes)
    order = [speakers[place] for place in np.random.default_rng(seed).permutation(len(speakers))]
    turn: Counter[str] = Counter()
    places = {}
    for speaker in order:
        places[speaker] = turn[sexes[speaker]]
        turn[sexes[speaker]] += 1
    return sorted(order, key=lambda speaker: places[speaker])  # stable: ties stay in the drawn order
