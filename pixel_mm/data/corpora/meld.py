"""MELD (Poria et al., ACL 2019): turns from the TV series Friends, with categories by three raters.

The publisher's split shares its main speakers between train and test: a speaker-disjoint protocol has to split anew.
MELD ships mp4 video, which soundfile does not read. Make a WAV file beside each, in the release's folder:

    for f in train_splits/*.mp4 dev_splits_complete/*.mp4 output_repeated_splits_test/*.mp4; do
        ffmpeg -nostdin -loglevel error -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"
    done
"""

import csv
from collections.abc import Iterator

from pixel_mm.data.corpora.corpus import FolderCorpus, mapped_labels
from pixel_mm.data.utterance import Split, Utterance

_EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
_PARTS: tuple[tuple[Split, str, str], ...] = (
    ("train", "train", "train_splits"),
    ("validation", "dev", "dev_splits_complete"),
    ("test", "test", "output_repeated_splits_test"),
)
# Labelled, but broken or absent in the publisher's release.
_WITHOUT_AUDIO = frozenset({("train", "dia125_utt3"), ("validation", "dia110_utt7")})


class Meld(FolderCorpus):
    """13,706 turns with audio, Friends; 7 emotions; dimensions mapped."""

    title = "MELD"
    url = "https://affective-meld.github.io (MELD.Raw.tar.gz)"
    licence = "GPL-3.0 (annotations); the recordings are from a commercial TV series, research only"
    language = "en"
    expected = (
        "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv and train_splits/, dev_splits_complete/, "
        "output_repeated_splits_test/ with a WAV file beside each mp4, like dia0_utt3.wav (docs/corpora.md has the "
        "ffmpeg command that makes them)"
    )
    num_clips = 13706

    def utterances(self) -> Iterator[Utterance]:
        """Every turn of the three label files that the release has audio for."""
        for split, name, folder in _PARTS:
            labels_file = self.require(f"{name}_sent_emo.csv", f"{name}/{name}_sent_emo.csv")
            audio = self.require(folder, f"{name}/{folder}")
            with labels_file.open(newline="", encoding="utf-8-sig") as file:
                for row in csv.DictReader(file):
                    clip = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
                    if (split, clip) in _WITHOUT_AUDIO:
                        continue
                    yield Utterance(
                        path=audio / f"{clip}.wav",
                        speaker=row["Speaker"].strip(),
                        language=self.language,
                        transcript=row["Utterance"].strip(),
                        split=split,
                        **mapped_labels(_EMOTIONS[row["Emotion"].strip()]),
                    )
