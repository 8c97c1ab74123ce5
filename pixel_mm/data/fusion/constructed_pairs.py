"""Constructed pairs: a written sentence and an emotional voice that never spoke it, and the state they are taken for.

Nobody said these sentences in these voices and nobody rated the pairs: they are named `constructed`, and what is
measured on them says whether a model uses both channels, not how people feel. docs/fusion_data.md
defines the target state.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.fusion.row import FusionRow, RowSource, check_disjoint
from pixel_mm.data.splits import Parts, SpeakerSplit, SplitError, check_speaker_disjoint, hold_out
from pixel_mm.data.utterance import Utterance

TEXT_GAIN = 2.5
STRONG_DISAGREEMENT = 0.6
PAIR_FRACTIONS = {"validation": 0.15, "test": 0.2}
_BANDS = ("negative", "middle", "positive")
_MIDDLE = (0.4, 0.6)


def stretched(valence: float) -> float:
    """A sentence's valence on the voices' range: `TEXT_GAIN` times as far from 0.5, kept within 0..1.

    Readers avoid the ends of the scale. With this gain EmoBank's sentences, as they are drawn here, spread as EmoDB's
    mapped voices do (standard deviations 0.24 and 0.25); without it the words would hardly count.
    """
    return float(np.clip(0.5 + TEXT_GAIN * (valence - 0.5), 0.0, 1.0))


def voice_decides(text_valence: float, voice_valence: float) -> bool:
    """Whether words and voice disagree strongly: so far apart that they lie on different sides of 0.5."""
    return abs(text_valence - voice_valence) >= STRONG_DISAGREEMENT


def joint_valence(words: float, voice: float) -> float:
    """Valence of a pair: the mean of the words' (`stretched`) and the voice's, or the voice's where it decides."""
    return voice if voice_decides(words, voice) else (words + voice) / 2


def target_state(text: Mapping[str, float], voice: Mapping[str, float]) -> dict[str, float]:
    """The state that a pair is taken for, by name, 0..1.

    Args:
        text: the sentence's ratings; its valence is `stretched` here.
        voice: the clip's ratings.

    Returns:
        `valence`: `joint_valence` of both; `arousal`, and `dominance` where the voice has it: the voice's.
    """
    valence = joint_valence(stretched(text["valence"]), voice["valence"])
    return {"valence": valence} | {name: voice[name] for name in DIMENSIONS[1:] if name in voice}


def part_speakers(
    clips: Sequence[Utterance],
    fractions: Mapping[str, float] | None,
    seed: int,
    split: SpeakerSplit | None,
) -> Parts:
    """Parts of an emotion corpus, the same in every source that has the same options.

    Args:
        clips: of the corpus.
        fractions: of the clips, for "validation" and "test"; None is `PAIR_FRACTIONS`. Whole speakers are held out.
        seed: of the speakers' draw.
        split: takes the place of both, such as `splits.fold`.

    Raises:
        SplitError: too few speakers, or parts that share one.
    """
    if split is None:
        return hold_out(clips, dict(fractions or PAIR_FRACTIONS), seed)
    parts = split(clips)
    check_speaker_disjoint(*([clips[row] for row in rows] for rows in parts))
    return parts


class ConstructedPairs:
    """Sentences with ratings, put together with the voices of an emotion corpus; speaker- and sentence-disjoint."""

    def __init__(
        self,
        sentences: RowSource,
        voices: Corpus,
        sentences_per_clip: int = 3,
        fractions: Mapping[str, float] | None = None,
        seed: int = 0,
        split: SpeakerSplit | None = None,
    ) -> None:
        """Take the two sources; nothing is read yet.

        Args:
            sentences: rows of text with valence and a split.
            voices: clips; those without valence or arousal are left out. Their ratings have one source.
            sentences_per_clip: rows that each clip makes. Sentences are taken from the negative, the middle and the
                positive part of the scale in turn, so that a multiple of 3 shows each voice with all three.
            fractions: see `part_speakers`.
            seed: of the speakers' and the sentences' draw.
            split: see `part_speakers`.

        Raises:
            ValueError: fewer than one sentence per clip.
        """
        if sentences_per_clip < 1:
            raise ValueError(f"sentences_per_clip is {sentences_per_clip}; give 1 or more")
        self.sentences, self.voices = sentences, voices
        self.sentences_per_clip, self.seed = sentences_per_clip, seed
        self.fractions, self.split = fractions, split

    def read(self) -> list[FusionRow]:
        """The pairs, ordered by split and clip.

        Raises:
            CorpusError, SplitError: a source that cannot be read, mixed labels, or too few speakers or sentences.
        """
        clips = [clip for clip in self.voices.read() if {"valence", "arousal"} <= (clip.ratings or {}).keys()]
        sources = {clip.label_source for clip in clips}
        if len(sources) != 1:
            raise SplitError(
                f"constructed pairs need voices with valence and arousal from one source; {self.voices.title} has "
                f"{' and '.join(sorted(map(str, sources))) or 'none'}: set its label_source"
            )
        by_band = _by_band(self.sentences.read())
        parts = part_speakers(clips, self.fractions, self.seed, self.split)
        rows = [
            row
            for split, numbers in zip(Parts._fields, parts, strict=True)
            if numbers
            for row in self._pairs(split, [clips[number] for number in numbers], by_band[split])
        ]
        check_disjoint(rows)
        return rows

    def _pairs(
        self, split: str, clips: Sequence[Utterance], bands: Mapping[str, Sequence[FusionRow]]
    ) -> Iterator[FusionRow]:
        """Each clip with its sentences. Sentences come again only when all of their band have been used."""
        random = np.random.default_rng([self.seed, Parts._fields.index(split)])
        decks = {}
        for band in _BANDS:
            if not bands.get(band):
                raise SplitError(f"no {band} sentence is in the {split} part; give more sentences, or longer limits")
            decks[band] = _endless(bands[band], random)
        for number, clip in enumerate(clips):
            for turn in range(self.sentences_per_clip):
                sentence = next(decks[_BANDS[(number + turn) % len(_BANDS)]])
                yield _pair(clip, sentence, split)


def _pair(clip: Utterance, sentence: FusionRow, split: str) -> FusionRow:
    ratings = clip.ratings or {}
    decides = voice_decides(stretched(sentence.scores["valence"]), ratings["valence"])
    return FusionRow(
        key=f"constructed:{clip.key}+{sentence.key}",
        speaker=clip.speaker,
        clip=clip,
        text=sentence.text,
        scores=target_state(sentence.scores, ratings),
        label_source="constructed",
        group="voice decides" if decides else "both",
        split=split,  # type: ignore[arg-type]  # the names of Parts are the names of splits
    )


def _by_band(sentences: Sequence[FusionRow]) -> defaultdict[str | None, defaultdict[str, list[FusionRow]]]:
    """Sentences by split and band of stretched valence."""
    found: defaultdict[str | None, defaultdict[str, list[FusionRow]]] = defaultdict(lambda: defaultdict(list))
    for sentence in sentences:
        place = int(np.searchsorted(_MIDDLE, stretched(sentence.scores["valence"]), side="right"))
        found[sentence.split][_BANDS[place]].append(sentence)
    return found


def _endless(sentences: Sequence[FusionRow], random: np.random.Generator) -> Iterator[FusionRow]:
    while True:
        yield from (sentences[number] for number in random.permutation(len(sentences)))
