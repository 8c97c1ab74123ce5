"""nEMO (Christop, LREC-COLING 2024): acted Polish."""

import csv
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Sex, Utterance

_EMOTIONS = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprise",
}
_SEXES: dict[str, Sex] = {"female": "female", "male": "male"}


class Nemo(FolderCorpus):
    """4,481 clips, 9 actors, 90 sentences, 6 emotions; dimensions mapped."""

    title = "nEMO"
    url = "https://github.com/amu-cai/nEMO (also https://huggingface.co/datasets/amu-cai/nEMO)"
    licence = "CC BY-NC-SA 4.0"
    language = "pl"
    expected = "data.tsv, and samples/ with 4,481 files named like SK0_anger_15.wav"
    num_clips = 4481

    def utterances(self) -> Iterator[Utterance]:
        """Every row of data.tsv."""
        with self.require("data.tsv").open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield Utterance(
                    path=self.root / "samples" / row["file_id"].strip(),
                    speaker=row["speaker_id"].strip(),  # the release pads this column with blanks
                    sex=_SEXES[row["gender"].strip()],
                    language=self.language,
                    transcript=row["raw_text"].strip(),
                    **mapped_labels(_EMOTIONS[row["emotion"].strip()]),
                )
