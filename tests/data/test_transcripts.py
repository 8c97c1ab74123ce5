"""Transcripts on their way into batches, and clips that a task leaves out."""

from functools import partial
from pathlib import Path

import pytest

from pixel_mm.data.batching import FrameBatchSampler
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.data.splits import hold_out
from tests.data.listed_corpus import ListedCorpus, utterance, write_clip


def made(folder: Path, max_bad_share: float = 0.5) -> SpeechDataModule:
    """Clips of 1 s of four speakers, the last of 40 s; all but the first have a transcript."""
    clips = []
    for number, seconds in enumerate((1, 1, 1, 40)):
        path = write_clip(folder / f"{number}.wav", seconds, rate_hz=16_000, seed=number)
        clips.append(utterance(path, f"s{number}", transcript=f"words {number}" if number else None))
    return SpeechDataModule(
        ListedCorpus(clips),
        split=partial(hold_out, fractions={"validation": 0.25, "test": 0.25}, seed=0),
        batching=partial(FrameBatchSampler, max_frames_per_batch=20_000, max_clips_per_batch=4),
        max_bad_share=max_bad_share,
    )


def test_a_batch_has_the_words_of_whole_clips_and_none_of_windows(tmp_path: Path) -> None:
    said = {}
    for batch in made(tmp_path).loader([0, 1, 2, 3], training=True):
        said |= dict(zip(batch.keys, batch.transcripts, strict=True))
    whole = {key.rpartition("/")[2]: text for key, text in said.items() if "@" not in key}
    assert whole == {"0.wav": None, "1.wav": "words 1", "2.wav": "words 2"}
    assert [text for key, text in said.items() if "@" in key] == [None, None]


def test_what_a_task_leaves_out_is_in_no_part_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made(tmp_path)
    data.leave_out({})
    before = data.parts
    data.leave_out({3: "it is too long"})
    assert [[row for row in part if row != 3] for part in before] == list(map(list, data.parts))
    assert data.bad_clips == {str(tmp_path / "3.wav"): "it is too long"}
    assert "1 of 4 clips were left out" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"3 of 4 clips cannot be used, more than datamodule.max_bad_share=0.5"):
        data.leave_out({0: "no", 1: "neither"})
