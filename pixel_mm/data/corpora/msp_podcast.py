"""MSP-Podcast (Lotfian and Busso, IEEE Transactions on Affective Computing 2019): podcast turns, rated by a crowd.

The publisher's partitions are kept. Its test partitions share speakers with each other, never with the other two.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError, RatedCorpus
from pixel_mm.data.utterance import LabelSource, Sex, Split, Utterance

_EMOTIONS: dict[str, str | None] = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "U": "surprise",
    "X": None,  # the raters did not agree
}
_SEXES: dict[str, Sex] = {"Female": "female", "Male": "male"}
_SPLITS: dict[str, Split] = {
    "Train": "train",
    "Development": "validation",
    "Validation": "validation",  # its name up to release 1.8
    "Test1": "test",
    "Test2": "test",
    "Test3": "test",
}


class MspPodcast(RatedCorpus):
    """Up to 264,705 turns (release 2.0); valence, arousal and dominance rated from 1 to 7."""

    title = "MSP-Podcast"
    url = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html (on request)"
    licence = "academic or commercial licence of the University of Texas at Dallas; not to be passed on"
    language = "en"
    expected = "Labels/labels_consensus.csv, Audios/*.wav and, if transcripts are wanted, Transcripts/*.txt"
    scale = (1.0, 7.0)

    def __init__(
        self,
        root: str | Path,
        partitions: Sequence[str] = ("Train", "Development", "Test1"),
        keep_unknown_speakers: bool = False,
        transcripts: bool = False,
        label_source: LabelSource = "rated",
        allow_incomplete: bool = False,
    ) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            partitions: the publisher's partitions to read. The labels of Test3 are not public.
            keep_unknown_speakers: keep turns whose speaker the publisher doesn't know, under the name of their
                recording. Whether they are by somebody in another partition is then unknown too.
            transcripts: read Transcripts/, one small file a turn.
            label_source: see `RatedCorpus`.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, label_source, allow_incomplete)
        if unknown := [name for name in partitions if name not in _SPLITS]:
            raise CorpusError(f"MSP-Podcast: partition '{unknown[0]}' is not one of {', '.join(_SPLITS)}")
        self.partitions = tuple(partitions)
        self.keep_unknown_speakers = keep_unknown_speakers
        self.transcripts = transcripts

    def utterances(self) -> Iterator[Utterance]:
        """Every turn of the chosen partitions whose speaker is known, or may be unknown."""
        audio = self.require("Audios", "Audio")
        # Releases up to 1.10 spell it "concensus".
        with self.require("Labels/labels_consensus.csv", "Labels/labels_concensus.csv").open(
            newline="", encoding="utf-8-sig"
        ) as file:
            for row in csv.DictReader(file):
                speaker = self._speaker(row)
                if row["Split_Set"] not in self.partitions or speaker is None:
                    continue
                ratings = {"valence": row["EmoVal"], "arousal": row["EmoAct"], "dominance": row["EmoDom"]}
                numbers = {name: float(value or "nan") for name, value in ratings.items()}
                yield Utterance(
                    path=audio / row["FileName"],
                    speaker=speaker,
                    sex=_SEXES.get(row["Gender"]),
                    language=self.language,
                    transcript=self._transcript(row["FileName"]),
                    split=_SPLITS[row["Split_Set"]],
                    **self.labels(_EMOTIONS[row["EmoClass"]], numbers),
                )

    def _speaker(self, row: dict[str, str]) -> str | None:
        if row["SpkrID"].strip().lower() not in ("", "unknown"):
            return row["SpkrID"].strip()
        # MSP-PODCAST_0001_0008.wav is turn 8 of recording 1
        return f"recording-{row['FileName'].split('_')[1]}" if self.keep_unknown_speakers else None

    def _transcript(self, name: str) -> str | None:
        if not self.transcripts:
            return None
        file = self.require("Transcripts") / f"{Path(name).stem}.txt"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None
