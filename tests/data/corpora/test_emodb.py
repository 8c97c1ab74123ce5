from collections import Counter
from itertools import islice, product
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError, from_dataset, to_dataset
from pixel_mm.data.corpora.emodb import EmoDB
from pixel_mm.data.emotions import HIGH_AROUSAL, POSITIVE_VALENCE
from tests.data.corpora.clips import write_clips


def test_name_gives_speaker_sentence_and_emotion(tmp_path: Path) -> None:
    root = write_clips(tmp_path, ["wav/16b10Td.wav", "wav/03a01Fa.wav", "wav/._03a01Fa.wav", "wav/notes.wav"])
    first, second = EmoDB(root, allow_incomplete=True).read()
    assert (first.speaker, first.sex, first.emotion, first.language) == ("03", "male", "happiness", "de")
    assert first.transcript == "Der Lappen liegt auf dem Eisschrank."
    assert (second.speaker, second.sex, second.emotion) == ("16", "female", "sadness")
    assert second.label_source == "mapped"
    assert second.ratings == {"valence": 0.185, "arousal": 0.365, "dominance": 0.335}


def test_corpus_that_lost_a_clip_is_refused(tmp_path: Path) -> None:
    names = (f"wav/{speaker:02}a01{letter}{take}.wav" for speaker, letter, take in _names())
    root = write_clips(tmp_path, list(islice(names, 535)))
    assert len(EmoDB(root).read()) == 535
    next((root / "wav").iterdir()).unlink()
    with pytest.raises(CorpusError, match=r"534 clips are there, the whole release has 535(.|\n)*CC0-1\.0"):
        EmoDB(root).read()


def test_folder_without_wav_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="wav is missing"):
        EmoDB(tmp_path).read()


@pytest.mark.data
def test_real_corpus_has_the_published_numbers(pixel_mm_data: Path) -> None:
    clips = EmoDB(pixel_mm_data / "emodb").read()
    assert len(clips) == 535
    assert len({clip.speaker for clip in clips}) == 10
    assert Counter({clip.speaker: clip.sex for clip in clips}.values()) == {"female": 5, "male": 5}
    assert len({clip.transcript for clip in clips}) == 10
    assert sum(clip.emotion in HIGH_AROUSAL for clip in clips) == 267
    assert sum(clip.emotion in POSITIVE_VALENCE for clip in clips) == 150
    assert len({clip.key for clip in clips}) == 535
    assert from_dataset(to_dataset(clips)) == clips


def _names() -> product:
    return product(range(3, 17), "WLEAFTN", "abcdef")
