"""IEMOCAP (Busso et al., Language Resources and Evaluation 2008): dyads of actors, scripted and improvised, rated."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pixel_mm.data.corpora.corpus import CorpusError, RatedCorpus
from pixel_mm.data.utterance import LabelSource, Utterance

# [start - end] <tab> turn <tab> emotion <tab> [valence, activation, dominance]
_SUMMARY = re.compile(
    r"\[[\d.]+ - [\d.]+\]\t(?P<turn>\w+)\t(?P<emotion>\w+)\t\[(?P<v>[\d.]+), (?P<a>[\d.]+), (?P<d>[\d.]+)\]"
)
_TRANSCRIPT = re.compile(r"(?P<turn>Ses\w+) \[[\d.]+-[\d.]+\]: ?(?P<words>.*)")

_EMOTIONS: dict[str, str | None] = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
    "xxx": None,  # the raters did not agree
}
_ALL = {emotion: emotion for emotion in _EMOTIONS.values() if emotion is not None}
_FOUR = {name: name for name in ("anger", "happiness", "neutral", "sadness")} | {"excitement": "happiness"}
_SETS = {"all": _ALL, "four": _FOUR, "five": _FOUR | {"frustration": "frustration"}}


class Iemocap(RatedCorpus):
    """10,039 turns, 10 actors in 5 sessions; valence, arousal and dominance rated from 1 to 5."""

    title = "IEMOCAP"
    url = "https://sail.usc.edu/iemocap/ (on request)"
    licence = "IEMOCAP release form, research only; not to be passed on"
    language = "en"
    expected = (
        "Session1/ to Session5/, each with dialog/EmoEvaluation/*.txt, dialog/transcriptions/*.txt and "
        "sentences/wav/DIALOGUE/TURN.wav"
    )
    num_clips = 10039
    scale = (1.0, 5.0)

    def __init__(
        self,
        root: str | Path,
        emotions: Literal["all", "four", "five"] = "all",
        label_source: LabelSource = "rated",
        allow_incomplete: bool = False,
    ) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            emotions: "all" keeps the publisher's categories; "four" is anger, happiness (with excitement), neutral and
                sadness, as in most papers; "five" adds frustration. Turns of other categories keep their ratings only.
            label_source: see `RatedCorpus`.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, label_source, allow_incomplete)
        if emotions not in _SETS:
            raise CorpusError(f"IEMOCAP: emotions is '{emotions}'; it is all, four or five")
        self.categories = _SETS[emotions]

    def utterances(self) -> Iterator[Utterance]:
        """Every turn of every session."""
        for session in sorted(self.root.glob("Session[1-5]")):
            transcripts = _transcripts(session / "dialog" / "transcriptions")
            for file in sorted((session / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
                for match in map(_SUMMARY.match, file.read_text(encoding="utf-8").splitlines()):
                    if match is not None:
                        yield self._turn(session, match, transcripts)

    def _turn(self, session: Path, match: re.Match[str], transcripts: dict[str, str]) -> Utterance:
        turn = match["turn"]  # Ses01F_impro01_M003: session, whose motion was captured, dialogue, who speaks
        emotion = _EMOTIONS[match["emotion"]]
        dialogue, number = turn.rsplit("_", 1)
        ratings = {"valence": float(match["v"]), "arousal": float(match["a"]), "dominance": float(match["d"])}
        # A mean outside the scale comes from a field that a rater left empty or mistyped: that dimension is unknown.
        in_scale = {name: value for name, value in ratings.items() if self.scale[0] <= value <= self.scale[1]}
        return Utterance(
            path=session / "sentences" / "wav" / dialogue / f"{turn}.wav",
            speaker=f"{turn[:5]}{number[0]}",
            sex="female" if number[0] == "F" else "male",
            language=self.language,
            transcript=transcripts.get(turn),
            **self.labels(self.categories.get(emotion or ""), in_scale),
        )


def _transcripts(folder: Path) -> dict[str, str]:
    lines = (line for file in folder.glob("Ses*.txt") for line in file.read_text(encoding="latin-1").splitlines())
    return {match["turn"]: match["words"].strip() for match in map(_TRANSCRIPT.match, lines) if match is not None}
