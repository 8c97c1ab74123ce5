"""TESS, the Toronto emotional speech set (Dupuis and Pichora-Fuller, 2010): two actresses, acted Canadian English.

With two speakers a speaker-disjoint result rests on one voice: use it to train, or to test across corpora.
"""

import re
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Utterance

# Talker, target word, emotion: OAF_back_angry.wav. The release itself has one OA_bite_neutral.wav.
_NAME = re.compile(r"(?P<talker>OA|YA)F?_(?P<word>[^_]+)_(?P<emotion>[a-z]+)\.wav")

_EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",  # "pleasant surprise"
    "sad": "sadness",
}


class Tess(FolderCorpus):
    """2,800 clips, 2 actresses (26 and 64 years old), 200 words, 7 emotions; dimensions mapped."""

    title = "TESS"
    url = "https://doi.org/10.5683/SP2/E8H2MF"
    licence = "CC BY-NC-ND 4.0"
    language = "en"
    expected = "2,800 files named like OAF_back_angry.wav, in the folder itself or in folders like OAF_angry/"
    num_clips = 2800

    def utterances(self) -> Iterator[Utterance]:
        """Every clip in the folder and in the folders of it."""
        for path in (*self.root.glob("*.wav"), *self.root.glob("[OY]AF_*/*.wav")):
            match = _NAME.fullmatch(path.name)
            if match is None or match["emotion"] not in _EMOTIONS:
                continue
            yield Utterance(
                path=path,
                speaker=f"{match['talker']}F",
                sex="female",
                language=self.language,
                transcript=f"Say the word {match['word']}.",
                **mapped_labels(_EMOTIONS[match["emotion"]]),
            )
