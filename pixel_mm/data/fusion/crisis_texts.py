"""Texts of our own writing that the crisis score learns from: alone, and in the voices of an emotion corpus."""

from collections.abc import Mapping

import numpy as np

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.fusion.written_sets import VoiceParts, load_texts
from pixel_mm.data.splits import SpeakerSplit


class CrisisTexts:
    """Texts of acute danger and texts that only look like it, apart from those of `CrisisSuite`, which tests.

    Each is a row of words alone and `clips_per_text` rows in voices that are drawn without a look at the words: what a
    calm or an excited voice adds to danger nobody has labelled, so the voice is to add nothing by itself.
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
            voices: clips with ratings.
            clips_per_text: voices that each text is heard in; 0: it is read alone.
            fractions: see `constructed_pairs.part_speakers`; with the same options as there, parts share no speaker.
            seed: of the speakers' and the clips' draw.
            split: see `constructed_pairs.part_speakers`.
        """
        self.voices, self.clips_per_text, self.fractions, self.seed = voices, clips_per_text, fractions, seed
        self.split = split

    def read(self) -> list[FusionRow]:
        """Rows of the training and the validation part; `group` says what kind of text each is.

        Raises:
            CorpusError, SplitError: see `VoiceParts`.
        """
        voices = VoiceParts(self.voices, self.fractions, self.seed, self.split)
        rows = []
        for place, (split, groups) in enumerate(load_texts("crisis_training").items()):
            random = np.random.default_rng([self.seed, place])
            for name, group in groups.items():
                for number, text in enumerate(group["texts"]):
                    key = f"crisis_training:{split}:{name}:{number}"
                    clips = voices.draw(split, None, self.clips_per_text, random)
                    rows += [
                        FusionRow(
                            key=key if clip is None else f"{key}+{clip.key}",
                            speaker=key if clip is None else clip.speaker,
                            clip=clip,
                            text=text,
                            scores={"crisis": float(group["crisis"])},
                            label_source="constructed",
                            group=name,
                            split=split,
                        )
                        for clip in (None, *clips)
                    ]
        return rows
