"""What a corpus must hold to before anything is trained on it: one source of ratings, and few unusable files."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.console import Console

from pixel_mm.data.utterance import LabelSource, Utterance

_LISTED = 20
_NAMED_IN_ERROR = 3


def one_label_source(utterances: Sequence[Utterance], wanted: LabelSource | None) -> LabelSource | None:
    """The source of all ratings, or None where there are no ratings.

    Args:
        utterances: of one data set.
        wanted: where they have to come from; None is wherever they come from.

    Raises:
        ValueError: ratings from two sources, or from another than wanted.
    """
    counts = Counter(utterance.label_source for utterance in utterances if utterance.label_source is not None)
    allowed = wanted or next(iter(counts), None)
    if set(counts) - {allowed}:
        found = " and ".join(f"{count} {source}" for source, count in sorted(counts.items()))
        raise ValueError(
            f"label_source is {wanted or 'not set'}, the corpus has {found} ratings; ratings by people and ratings "
            "made from categories are never mixed: set data.label_source, or use a reader that gives one kind"
        )
    return allowed


def refuse_too_many_bad(bad_clips: Mapping[str, str], total: int, max_bad_share: float) -> None:
    """Stop where unusable clips are no accident.

    Args:
        bad_clips: reason by place.
        total: clips of the corpus, the bad ones included.
        max_bad_share: of `total`, 0..1.

    Raises:
        ValueError: more than that, or no usable clip at all; names the first few.
    """
    if len(bad_clips) < total and len(bad_clips) <= max_bad_share * total:
        return
    named = "; ".join(f"{place}: {reason}" for place, reason in list(bad_clips.items())[:_NAMED_IN_ERROR])
    raise ValueError(
        f"{len(bad_clips)} of {total} clips cannot be used, more than datamodule.max_bad_share={max_bad_share} allows "
        f"({named or 'the corpus is empty'}); mend or remove them, or allow more"
    )


@rank_zero_only
def report_bad_clips(bad_clips: Mapping[str, str], num_usable: int) -> None:
    """Count and list unusable clips on standard error; nothing where there are none."""
    if not bad_clips:
        return
    console = Console(stderr=True)
    console.print(f"[yellow]{len(bad_clips)} of {len(bad_clips) + num_usable} clips were left out:[/yellow]")
    for place, reason in list(bad_clips.items())[:_LISTED]:
        console.print(f"  {place}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if len(bad_clips) > _LISTED:
        console.print(f"  and {len(bad_clips) - _LISTED} more")
