from pathlib import Path

from pixel_mm.data.corpora.ravdess import Ravdess
from tests.data.corpora.clips import write_clips


def test_spoken_audio_is_read_and_nothing_else(tmp_path: Path) -> None:
    root = write_clips(
        tmp_path,
        [
            "Actor_12/03-01-06-01-02-01-12.wav",
            "Actor_01/03-01-02-02-01-02-01.wav",
            "Actor_01/03-02-02-02-01-02-01.wav",  # sung
            "audio_speech_actors_01-24/Actor_01/03-01-02-02-01-02-01.wav",  # a second copy, as one mirror ships it
        ],
    )
    first, second = Ravdess(root, allow_incomplete=True).read()
    assert (first.speaker, first.sex, first.emotion) == ("01", "male", "calm")
    assert first.transcript == "Kids are talking by the door."
    assert (second.speaker, second.sex, second.emotion) == ("12", "female", "fear")
    assert second.transcript == "Dogs are sitting by the door."
    assert second.label_source == "mapped"
