"""Sets of our own writing: masked distress, answers to a voice, answers with EQ labels, and the crisis suite.

The texts lie in `texts/`.

An author decided what each of them means and nobody rated them, so their scores are called `constructed`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.emotions import EQ_DIMENSIONS
from pixel_mm.data.fusion.constructed_pairs import part_speakers, target_state
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.splits import Parts, SpeakerSplit, SplitError
from pixel_mm.data.utterance import Split, Utterance

_TEXTS = Path(__file__).parent / "texts"
_AUTHOR = "author of the set"
FINE_VOICES = frozenset({"happiness", "excitement", "calm"})
DISTRESSED_VOICES = frozenset({"sadness", "fear"})
# What a reader would rate the words, before they are stretched: clearly fine, and clearly not.
_WORDS = {"fine": {"valence": 0.7}, "distressed": {"valence": 0.3}}
_GROUPS = {
    ("fine", "fine"): "both fine",
    ("fine", "distressed"): "masked",
    ("distressed", "fine"): "reverse",
    ("distressed", "distressed"): "both distressed",
}


class CrisisSuite:
    """Texts of acute danger, and texts that only look like it; 1 and 0 under the name `crisis`."""

    def read(self) -> list[FusionRow]:
        """Rows of text alone, all of them for testing; `group` says what kind of text each is."""
        return [
            FusionRow(
                key=f"crisis:{name}:{number}",
                speaker=_AUTHOR,
                text=text,
                scores={"crisis": float(group["crisis"])},
                label_source="constructed",
                group=name,
                split="test",
            )
            for name, group in load_texts("crisis_suite")["groups"].items()
            for number, text in enumerate(group["texts"])
        ]


class EmpathyAnswers:
    """What somebody tells of, and answers that differ in what they do for the person, labelled by `EQ_DIMENSIONS`."""

    def read(self) -> list[FusionRow]:
        """Rows of text and response without audio; texts of the parts differ, and each stands for a person."""
        return [
            FusionRow(
                key=f"empathy:{split}:{number}:{place}",
                speaker=f"empathy:{split}:{number}",
                text=item["text"],
                response=answer,
                imitated=False,
                scores=dict(zip(EQ_DIMENSIONS, map(float, levels), strict=True)),
                label_source="constructed",
                split=split,
            )
            for split, items in load_texts("eq_answers").items()
            for number, item in enumerate(items)
            for place, (*levels, answer) in enumerate(item["answers"])
        ]


class VoiceParts:
    """Clips of an emotion corpus by part and category; its parts are `ConstructedPairs`'s with the same options.

    Attributes:
        title: of the corpus.
        parts: clips with valence and arousal by part; parts without any are missing.
    """

    def __init__(
        self, corpus: Corpus, fractions: Mapping[str, float] | None, seed: int, split: SpeakerSplit | None = None
    ) -> None:
        """Read the corpus and divide it, see `part_speakers`."""
        self.title = corpus.title
        rated = [clip for clip in corpus.read() if {"valence", "arousal"} <= (clip.ratings or {}).keys()]
        parts = part_speakers(rated, fractions, seed, split)
        self.parts = {
            name: [rated[row] for row in rows] for name, rows in zip(Parts._fields, parts, strict=True) if rows
        }

    def draw(
        self, split: str, emotions: frozenset[str] | None, count: int, random: np.random.Generator
    ) -> list[Utterance]:
        """So many different clips of these categories; None: of any.

        Raises:
            SplitError: there are fewer; names the part and the categories.
        """
        clips = [clip for clip in self.parts.get(split, []) if emotions is None or clip.emotion in emotions]
        if len(clips) < count:
            kind = "" if emotions is None else f" with the category {' or '.join(sorted(emotions))}"
            raise SplitError(
                f"{self.title} has {len(clips)} clips{kind} in the {split} part, {count} are needed; ask for fewer, or "
                "take another corpus, other fractions or another seed"
            )
        return [clips[number] for number in random.permutation(len(clips))[:count]]


class MaskedDistress:
    """Fine words in a distressed voice, distressed words in a fine voice, and both in agreement, as many of each.

    The voice decides: who goes by it is right in all four groups, who goes by the words in half of the rows. For
    testing only: voices are those of the test part.
    """

    def __init__(
        self,
        voices: Corpus,
        clips_per_text: int = 2,
        fractions: Mapping[str, float] | None = None,
        seed: int = 0,
        split: SpeakerSplit | None = None,
    ) -> None:
        """Take the voices; nothing is read yet.

        Args:
            voices: clips with categories and ratings.
            clips_per_text: voices of either kind for each text.
            fractions: see `ConstructedPairs`; with the same ones and seed the test part is the same.
            seed: of the speakers' and the clips' draw.
            split: see `part_speakers`.
        """
        self.voices, self.clips_per_text, self.fractions, self.seed = voices, clips_per_text, fractions, seed
        self.split = split

    def read(self) -> list[FusionRow]:
        """The rows; their state is `target_state`'s, by which the voice decides in `masked` and `reverse`.

        Raises:
            SplitError: too few voices of a kind.
        """
        voices, random = (
            VoiceParts(self.voices, self.fractions, self.seed, self.split),
            np.random.default_rng(self.seed),
        )
        return [
            FusionRow(
                key=f"masked:{words}:{number}+{clip.key}",
                speaker=clip.speaker,
                clip=clip,
                text=text,
                scores=target_state(_WORDS[words], clip.ratings or {}),
                label_source="constructed",
                group=_GROUPS[words, voice],
                split="test",
            )
            for words, texts in load_texts("masked_distress").items()
            for number, text in enumerate(texts)
            for voice, emotions in (("fine", FINE_VOICES), ("distressed", DISTRESSED_VOICES))
            for clip in voices.draw("test", emotions, self.clips_per_text, random)
        ]


class WrittenResponses:
    """Words that say little by themselves, in four kinds of voices, with an answer to each."""

    def __init__(
        self,
        voices: Corpus,
        clips_per_answer: int = 4,
        fractions: Mapping[str, float] | None = None,
        seed: int = 0,
        split: SpeakerSplit | None = None,
    ) -> None:
        """Take the voices; nothing is read yet.

        Args:
            voices: clips with the categories happiness, sadness, anger and fear.
            clips_per_answer: voices that each answer is given to.
            fractions: see `ConstructedPairs`.
            seed: of the speakers' and the clips' draw.
            split: see `part_speakers`.
        """
        self.voices, self.clips_per_answer, self.fractions, self.seed = voices, clips_per_answer, fractions, seed
        self.split = split

    def read(self) -> list[FusionRow]:
        """Rows without scores; `group` is the voice's category. Texts and speakers of the parts differ.

        Raises:
            SplitError: a part with too few voices of a category.
        """
        voices = VoiceParts(self.voices, self.fractions, self.seed, self.split)
        return [row for split, items in load_texts("responses").items() for row in self._rows(voices, split, items)]

    def _rows(self, voices: VoiceParts, split: Split, items: Sequence[Mapping[str, str]]) -> Iterator[FusionRow]:
        random = np.random.default_rng([self.seed, Parts._fields.index(split)])
        for number, item in enumerate(items):
            for emotion, answer in item.items():
                if emotion == "text":
                    continue
                for clip in voices.draw(split, frozenset({emotion}), self.clips_per_answer, random):
                    yield FusionRow(
                        key=f"response:{split}:{number}+{clip.key}",
                        speaker=clip.speaker,
                        clip=clip,
                        text=item["text"],
                        response=answer,
                        group=emotion,
                        split=split,
                    )


def load_texts(name: str) -> dict[Any, Any]:
    """Content of a file of `texts/`."""
    return yaml.safe_load((_TEXTS / f"{name}.yaml").read_text(encoding="utf-8"))
