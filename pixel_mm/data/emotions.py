"""The vocabulary of emotion labels: categories, dimensions, binary groups and the mapped ratings.

Dimensions run from 0 to 1: valence from negative to positive, arousal from calm to excited, dominance
from submissive to dominant. Where a corpus has no human ratings, `MAPPED_RATINGS` stands in for them, and every
number made from it is called "mapped".
"""

from types import MappingProxyType

DIMENSIONS = ("valence", "arousal", "dominance")

# What an answer does for the person who is answered: Sharma et al., "A computational approach to understanding empathy
# expressed in text-based mental health support", EMNLP 2020. Each from 0 (absent) over 0.5 (weak) to 1 (strong).
EQ_DIMENSIONS = ("emotional_reaction", "interpretation", "exploration")

FUSION_SCORES = (*DIMENSIONS, *EQ_DIMENSIONS, "crisis", "bias")
"""Names of the scores that voice and words together are given. `crisis`: 1 is a person in acute danger of harming
themselves or being harmed; `bias`: 1 is hateful or demeaning towards a group of people."""

# Pleasure, arousal and dominance in -1..1: means of the terms in Russell & Mehrabian, "Evidence for a three-factor
# theory of emotions", Journal of Research in Personality 11 (1977), table 4, as "angry", "bored", "contemptuous",
# "disgusted", "excited", "fearful", "frustrated", "happy", "sad", "surprised". Calm is their "relaxed", the nearest
# term; neutral is the origin of their scales. docs/labels.md says where each is weak.
_PLEASURE_AROUSAL_DOMINANCE: dict[str, tuple[float, float, float]] = {
    "anger": (-0.51, 0.59, 0.25),
    "boredom": (-0.65, -0.62, -0.33),
    "calm": (0.68, -0.46, 0.06),
    "contempt": (-0.24, 0.31, 0.21),
    "disgust": (-0.60, 0.35, 0.11),
    "excitement": (0.62, 0.75, 0.38),
    "fear": (-0.64, 0.60, -0.43),
    "frustration": (-0.64, 0.52, -0.35),
    "happiness": (0.81, 0.51, 0.46),
    "neutral": (0.0, 0.0, 0.0),
    "sadness": (-0.63, -0.27, -0.33),
    "surprise": (0.40, 0.67, -0.13),
}

MAPPED_RATINGS = MappingProxyType(
    {
        emotion: MappingProxyType(
            {name: round((value + 1) / 2, 4) for name, value in zip(DIMENSIONS, values, strict=True)}
        )
        for emotion, values in _PLEASURE_AROUSAL_DOMINANCE.items()
    }
)
"""Ratings in 0..1 by category and dimension, for corpora without human ratings: (x + 1) / 2 of the table above."""

EMOTIONS = (*MAPPED_RATINGS, "other")
"""Every category a reader may give. "other" has no mapped ratings."""

# Binary groups after Schuller et al., "Acoustic emotion recognition: a benchmark comparison of performances", ASRU
# 2009; excitement joins them as a corpus that has it treats it: beside happiness.
HIGH_AROUSAL = frozenset({"anger", "excitement", "fear", "happiness", "surprise"})
POSITIVE_VALENCE = frozenset({"calm", "excitement", "happiness", "neutral", "surprise"})
