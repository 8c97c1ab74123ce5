"""RAVDESS, the Ryerson audio-visual database (Livingstone and Russo, PLoS ONE 2018): acted North American English.

Only the audio-only speech is read. Actors also sang; sung emotion is another matter.
"""

import re
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Sex, Utterance

# Modality 03 (audio only), channel 01 (speech), emotion, intensity, statement, repetition, actor
_NAME = re.compile(r"03-01-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]-(?P<actor>\d\d)\.wav")

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


class Ravdess(FolderCorpus):
    """1,440 spoken clips, 24 actors, 2 sentences, 8 emotions; dimensions mapped."""

    title = "RAVDESS"
    url = "https://zenodo.org/records/1188976 (Audio_Speech_Actors_01-24.zip)"
    licence = "CC BY-NC-SA 4.0"
    language = "en"
    expected = "Actor_01/ to Actor_24/, each with 60 files named like 03-01-06-01-02-01-12.wav"
    num_clips = 1440

    def utterances(self) -> Iterator[Utterance]:
        """Every spoken clip of every actor's folder."""
        for path in self.root.glob("Actor_*/*.wav"):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            sex: Sex = "male" if int(match["actor"]) % 2 else "female"
            yield Utterance(
                path=path,
                speaker=match["actor"],
                sex=sex,
                language=self.language,
                transcript=_STATEMENTS[match["statement"]],
                **mapped_labels(_EMOTIONS[match["emotion"]]),
            )
