"""MSP-IMPROV (Busso et al., IEEE Transactions on Affective Computing 2017): improvising actors, rated by a crowd."""

import re
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import RatedCorpus
from pixel_mm.data.utterance import Utterance

# UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.000000; V:3.500000; D:3.000000 ; N:4.200000;
# sentence 01 with target emotion A, speaker F01 of session 1, scenario P, turn FM01; then consensus and mean ratings
_NUMBER = r"(\d+(?:\.\d+)?|NaN)"
_SUMMARY = re.compile(
    r"UTD-(?P<clip>IMPROV-(?P<sentence>S\d\d[AHNS])-(?P<speaker>[FM]\d\d)-(?P<scenario>[PRST])-\w+)\.avi\s*;"
    rf"\s*(?P<emotion>[A-Z])\s*;\s*A:(?P<a>{_NUMBER})\s*;\s*V:(?P<v>{_NUMBER})\s*;(\s*D:(?P<d>{_NUMBER})\s*;)?"
)

_EMOTIONS: dict[str, str | None] = {
    "A": "anger",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "X": None,  # the raters did not agree
}


class MspImprov(RatedCorpus):
    """8,438 turns, 12 actors in 6 sessions; valence, arousal and dominance rated from 1 to 5."""

    title = "MSP-IMPROV"
    url = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html (on request)"
    licence = "academic or commercial licence of the University of Texas at Dallas; not to be passed on"
    language = "en"
    expected = (
        "Evalution.txt (spelt so by the publisher) and session1/ to session6/ (in the folder itself or in Audio/), "
        "with files like session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav"
    )
    num_clips = 8438
    scale = (1.0, 5.0)

    def utterances(self) -> Iterator[Utterance]:
        """Every turn of Evalution.txt."""
        labels_file = self.require("Evalution.txt", "Evaluation.txt")
        audio = self.root / "Audio" if (self.root / "Audio").is_dir() else self.root
        for match in map(_SUMMARY.match, labels_file.read_text(encoding="utf-8").splitlines()):
            if match is None:  # a single rater's line, or an empty one
                continue
            speaker = match["speaker"]
            folder = audio / f"session{int(speaker[1:])}" / match["sentence"] / match["scenario"]
            ratings = {"valence": match["v"], "arousal": match["a"], "dominance": match["d"] or "NaN"}
            yield Utterance(
                path=folder / f"MSP-{match['clip']}.wav",
                speaker=speaker,
                sex="female" if speaker[0] == "F" else "male",
                language=self.language,
                **self.labels(_EMOTIONS[match["emotion"]], {name: float(value) for name, value in ratings.items()}),
            )
