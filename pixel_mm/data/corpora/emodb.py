"""EmoDB, the Berlin database of emotional speech (Burkhardt et al., Interspeech 2005): acted German."""

import re
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Sex, Utterance

# Speaker, sentence, emotion letter (of the German word), take: 03a01Fa.wav
_NAME = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<take>[a-z])\.wav")

_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_WOMEN = frozenset({"08", "09", "13", "14", "16"})
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


class EmoDB(FolderCorpus):
    """535 clips, 10 speakers, 10 sentences, 7 emotions; dimensions mapped."""

    title = "EmoDB"
    url = "http://emodb.bilderbar.info"
    licence = "CC0-1.0"
    language = "de"
    expected = "wav/ with 535 files named like 03a01Fa.wav"
    num_clips = 535

    def utterances(self) -> Iterator[Utterance]:
        """Every clip in wav/."""
        for path in self.require("wav").iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            sex: Sex = "female" if match["speaker"] in _WOMEN else "male"
            yield Utterance(
                path=path,
                speaker=match["speaker"],
                sex=sex,
                language=self.language,
                transcript=_SENTENCES.get(match["sentence"]),
                **mapped_labels(_EMOTIONS[match["emotion"]]),
            )
