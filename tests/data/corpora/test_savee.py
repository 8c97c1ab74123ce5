from pathlib import Path

import pytest

from pixel_mm.data.corpora.savee import Savee
from tests.data.corpora.clips import write_clips


@pytest.mark.parametrize("place", ["AudioData", "."])
def test_letters_of_the_name_give_the_emotion(tmp_path: Path, place: str) -> None:
    names = [f"{place}/DC/sa05.wav", f"{place}/KL/su15.wav", f"{place}/JE/a01.wav", f"{place}/ALL/DC_a01.wav"]
    clips = Savee(write_clips(tmp_path, names), allow_incomplete=True).read()
    assert [(clip.speaker, clip.emotion, clip.sex) for clip in clips] == [
        ("DC", "sadness", "male"),
        ("JE", "anger", "male"),
        ("KL", "surprise", "male"),
    ]
