"""Fusion rows one at a time, as tokens and a waveform, and what a model may use of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ, Waveform
from pixel_mm.chat import chat_tokens
from pixel_mm.data.batching import Request
from pixel_mm.data.clip_store import ClipStore, Window
from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.data.fusion.batch import RowContent
from pixel_mm.data.fusion.prosody_words import ProsodyWords, measure_prosody
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.utterance import Utterance

SAMPLES_PER_TOKEN = SAMPLE_RATE_HZ // 10
"""What a token counts in the length of a row: 100 ms of audio, ten frames of a batch's limit."""


class VoiceStore:
    """The voices of rows, each looked at once.

    Attributes:
        num_clips: different clips that the rows name.
        bad_clips: why some of them cannot be used.
    """

    def __init__(self, rows: Sequence[FusionRow], cache_bytes: int) -> None:
        """Look at every clip.

        Args:
            rows: with or without voices.
            cache_bytes: of waveforms to keep in memory.
        """
        clips = {_place(row.clip): row.clip for row in rows if row.clip is not None}
        self.num_clips = len(clips)
        self._store = ClipStore(list(clips.values()), cache_bytes, 0.0)
        self.bad_clips = dict(self._store.bad_clips)
        self._windows: dict[tuple[Path, float | None, float | None], Window] = {}
        for window in self._store.windows:
            clip, seconds = self._store.utterances[window.row], self._store.durations_seconds[window.row]
            if seconds * SAMPLE_RATE_HZ <= MAX_SAMPLES:
                self._windows[_place(clip)] = window
            else:
                self.bad_clips[str(clip.path)] = f"{seconds:.1f} s long; a row is heard as a whole, up to 30 s: cut it"

    def has(self, row: FusionRow) -> bool:
        """Whether a row's voice can be used."""
        return row.clip is not None and _place(row.clip) in self._windows

    def window(self, row: FusionRow) -> Window:
        """Length and hash of a row's voice."""
        assert row.clip is not None
        return self._windows[_place(row.clip)]

    def waveform(self, row: FusionRow) -> Waveform:
        """A row's voice, levelled: float32 [T]. Not to be written to."""
        return self._store.window_waveform(self.window(row))

    def level_dbfs(self, row: FusionRow) -> float:
        """Level of a row's voice before it was levelled."""
        return float(self._store.levels_dbfs[self.window(row).row])


def _place(clip: Utterance) -> tuple[Path, float | None, float | None]:
    return clip.path, clip.start_seconds, clip.end_seconds


@dataclass
class View:
    """What a model may use of a row.

    Attributes:
        reads: the words.
        hears: the voice.
        prosody: describes voices in words, at the beginning of the person's words; None: they are not described.
        system: what the model is told of its part; None is what its chat template says by itself.
    """

    reads: bool = True
    hears: bool = True
    prosody: ProsodyWords | None = None
    system: str | None = None

    def uses(self, row: FusionRow) -> bool:
        """Whether there is anything of the row to use."""
        return (self.reads and row.text is not None) or (
            row.clip is not None and (self.hears or self.prosody is not None)
        )

    def words(self, row: FusionRow, voices: VoiceStore) -> str | None:
        """The words that a row is read with, or None."""
        said = row.text if self.reads else None
        if self.prosody is None or row.clip is None:
            return said
        described = self.prosody.describe(measure_prosody(voices.waveform(row), voices.level_dbfs(row)))
        return described if said is None else f"{described} {said}"


class FusionDataset(Dataset[RowContent]):
    """Some rows, as a view shows them."""

    def __init__(
        self,
        rows: Sequence[FusionRow],
        places: Sequence[int],
        voices: VoiceStore,
        view: View,
        tokenizer: PreTrainedTokenizerBase,
        voice_of: Mapping[int, int] | None = None,
    ) -> None:
        """Turn words into tokens; audio is left where it is.

        Args:
            rows: all rows.
            places: those that this data set has.
            voices: of all rows.
            view: what is used.
            tokenizer: of the language model.
            voice_of: by row, another row whose voice it gets, to see what wrong voices do.
        """
        self.rows, self.places, self.voices, self.view = rows, list(places), voices, view
        self._voice_of = voice_of or {}
        self._words = [view.words(rows[place], voices) for place in self.places]
        self._tokens = [
            chat_tokens(tokenizer, words, rows[place].response, view.system)
            for words, place in zip(self._words, self.places, strict=True)
        ]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.places)

    @property
    def lengths(self) -> list[int]:
        """Length of each row, 16 kHz samples: of its voice, or its tokens' if that is more."""
        voices = [self._voice(place) for place in self.places]
        return [
            max(
                len(tokens.input_ids) * SAMPLES_PER_TOKEN,
                0 if voice is None else self.voices.window(voice).num_samples,
            )
            for tokens, voice in zip(self._tokens, voices, strict=True)
        ]

    def __getitem__(self, request: Request) -> RowContent:
        """A row; the same in every epoch."""
        place = self.places[request.clip]
        row, voice = self.rows[place], self._voice(place)
        return RowContent(
            key=row.key,
            row=place,
            tokens=self._tokens[request.clip],
            imitated=row.imitated,
            has_text=self._words[request.clip] is not None,
            waveform=None if voice is None else self.voices.waveform(voice),
            audio_hash=None if voice is None else self.voices.window(voice).audio_hash,
            targets=[row.scores.get(name, float("nan")) for name in FUSION_SCORES],
        )

    def _voice(self, place: int) -> FusionRow | None:
        """The row whose voice is heard in a row, or None."""
        row = self.rows[self._voice_of.get(place, place)]
        return row if self.view.hears and row.clip is not None else None
