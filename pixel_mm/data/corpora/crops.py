"""Stretches of another corpus's clips, drawn by seed: speech of many lengths to train on where nothing is labelled."""

from pathlib import Path

import numpy as np
import soundfile

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS
from pixel_mm.data.corpora.corpus import Corpus, CorpusError
from pixel_mm.data.utterance import Utterance


class Crops(Corpus):
    """So many stretches of every clip, without transcripts and labels, which are of the whole.

    Lengths are spread evenly over their logarithm, so that short ones are as many as long.
    """

    def __init__(self, corpus: Corpus, crops_per_clip: int, shortest_seconds: float = 0.5, seed: int = 0) -> None:
        """Choose how many.

        Args:
            corpus: whose clips are cut.
            crops_per_clip: 1 or more.
            shortest_seconds: of a stretch; a clip that is shorter stays whole. 0.025 to 30.
            seed: of the draw; a clip's stretches depend on it and the clip's key alone.

        Raises:
            CorpusError: no stretches, or none that a model takes.
        """
        super().__init__(corpus.root)
        if crops_per_clip < 1 or not MIN_SECONDS <= shortest_seconds <= MAX_SECONDS:
            raise CorpusError(
                f"crops_per_clip is {crops_per_clip} and shortest_seconds {shortest_seconds}; give 1 or more stretches "
                f"of {MIN_SECONDS} to {MAX_SECONDS:g} s"
            )
        self.title, self.url, self.licence = f"{corpus.title}, crops", corpus.url, corpus.licence  # type: ignore[misc]
        self.language, self.expected = corpus.language, corpus.expected  # type: ignore[misc]
        self.corpus, self.crops_per_clip = corpus, crops_per_clip
        self.shortest_seconds, self.seed = shortest_seconds, seed

    def read(self) -> list[Utterance]:
        """The stretches, clip by clip in the corpus's order.

        Raises:
            CorpusError: see the corpus's reader; a file that is no audio.
        """
        return [crop for utterance in self.corpus.read() for crop in self._crops(utterance)]

    def _crops(self, utterance: Utterance) -> list[Utterance]:
        start = utterance.start_seconds or 0.0
        end = duration_of(utterance.path) if utterance.end_seconds is None else utterance.end_seconds
        key = np.frombuffer(f"{self.seed}/{utterance.key}".encode(), np.uint8)
        generator = np.random.default_rng(key)
        longest = min(end - start, MAX_SECONDS)
        shortest = min(self.shortest_seconds, longest)
        crops = []
        for share, place in generator.random(
            (self.crops_per_clip, 2)
        ):  # by rows: more crops leave the first ones alone
            length = shortest * (longest / shortest) ** share
            begin = start + place * (end - start - length)
            crops.append(
                Utterance(
                    path=utterance.path,
                    start_seconds=begin,
                    end_seconds=min(begin + length, end),
                    speaker=utterance.speaker,
                    sex=utterance.sex,
                    language=utterance.language,
                    split=utterance.split,
                )
            )
        return crops


def duration_of(path: Path) -> float:
    """Seconds, as the header has it."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (OSError, RuntimeError) as error:
        raise CorpusError(f"{path}: unreadable ({error}); is it a complete audio file?") from error
