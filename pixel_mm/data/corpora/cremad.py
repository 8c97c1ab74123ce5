"""CREMA-D (Cao et al., IEEE Transactions on Affective Computing 2014): acted American English, with crowd votes.

The emotion of a clip is either the one its actor was asked for, or the one that most listeners heard in the voice
alone. The two differ for more than half of the clips: listeners call many acted emotions neutral.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Sex, Utterance

_INTENDED = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
_VOTED = {code[0]: emotion for code, emotion in _INTENDED.items()}
_SEXES: dict[str, Sex] = {"Female": "female", "Male": "male"}
_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_POINTER = b"version https://git-lfs"


class CremaD(FolderCorpus):
    """7,442 clips, 91 actors, 12 sentences, 6 emotions; dimensions mapped."""

    title = "CREMA-D"
    url = "https://github.com/CheyneyComputerScience/CREMA-D (its audio needs git-lfs)"
    licence = "Open Database License 1.0, contents under the Database Contents License 1.0"
    language = "en"
    expected = (
        "AudioWAV/ with 7,442 files named like 1001_DFA_ANG_XX.wav, SentenceFilenames.csv, VideoDemographics.csv and "
        "processedResults/summaryTable.csv"
    )
    num_clips = 7442

    def __init__(
        self,
        root: str | Path,
        labels: Literal["intended", "voice_votes"] = "intended",
        allow_incomplete: bool = False,
    ) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            labels: "intended" is the emotion the actor was asked for; "voice_votes" the one most listeners heard in the
                audio, where clips with a tie are left out.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, allow_incomplete)
        if labels not in ("intended", "voice_votes"):
            raise CorpusError(f"CREMA-D: labels is '{labels}'; it is intended or voice_votes")
        self.label_set = labels

    def read(self) -> list[Utterance]:
        """See `FolderCorpus.read`; tied clips go only now, so that the whole release is counted."""
        utterances = [utterance for utterance in super().read() if utterance.emotion is not None]
        for utterance in utterances:
            if utterance.path.stat().st_size < 1024 and utterance.path.read_bytes().startswith(_POINTER):
                raise self.error(f"{utterance.path.name} is a git-lfs pointer, not audio; run `git lfs pull` in it")
        return utterances

    def utterances(self) -> Iterator[Utterance]:
        """Every clip of SentenceFilenames.csv."""
        votes = self._voice_votes()
        sexes = {row["ActorID"]: _SEXES[row["Sex"]] for row in self._rows("VideoDemographics.csv")}
        for row in self._rows("SentenceFilenames.csv"):
            name = row["Filename"]
            actor, sentence, intended, _ = name.split("_")
            emotion = _INTENDED[intended] if self.label_set == "intended" else votes[name]
            yield Utterance(
                path=self.root / "AudioWAV" / f"{name}.wav",
                speaker=actor,
                sex=sexes[actor],
                language=self.language,
                transcript=_SENTENCES[sentence],
                **mapped_labels(emotion),
            )

    def _voice_votes(self) -> dict[str, str | None]:
        """The emotion heard in each clip's voice, None where two or more have the same number of votes."""
        if self.label_set == "intended":
            return {}
        rows = self._rows("processedResults/summaryTable.csv")
        return {row["FileName"]: _VOTED.get(row["VoiceVote"]) for row in rows}

    def _rows(self, name: str) -> list[dict[str, str]]:
        with self.require(name).open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
