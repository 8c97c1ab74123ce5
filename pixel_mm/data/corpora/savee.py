"""SAVEE, the Surrey audio-visual database (Haq and Jackson, AVSP 2009): acted British English, men only."""

import re
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Utterance

# Emotion and sentence number: sa05.wav. sa and su come before the single letters.
_NAME = re.compile(r"(?P<emotion>sa|su|[adfhn])\d\d\.wav")

_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")


class Savee(FolderCorpus):
    """480 clips, 4 male speakers, 7 emotions; dimensions mapped."""

    title = "SAVEE"
    url = "http://kahlan.eps.surrey.ac.uk/savee/ (on registration)"
    licence = "free for research on registration; not to be passed on"
    language = "en"
    expected = "AudioData/ (or the folder itself) with DC/, JE/, JK/, KL/, each with 120 files named like sa05.wav"
    num_clips = 480

    def utterances(self) -> Iterator[Utterance]:
        """Every clip of the four speakers' folders."""
        folder = self.root / "AudioData"
        folder = folder if folder.is_dir() else self.root
        for speaker in _SPEAKERS:
            for path in (folder / speaker).glob("*.wav"):
                match = _NAME.fullmatch(path.name)
                if match is None:
                    continue
                labels = mapped_labels(_EMOTIONS[match["emotion"]])
                yield Utterance(path=path, speaker=speaker, sex="male", language=self.language, **labels)
