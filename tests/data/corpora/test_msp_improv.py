from pathlib import Path

import pytest

from pixel_mm.data.corpora.msp_improv import MspImprov
from tests.data.corpora.clips import write_clips, write_text


@pytest.mark.parametrize("place", [".", "Audio"])
def test_consensus_lines_are_read_and_single_raters_are_not(tmp_path: Path, place: str) -> None:
    clips = ["session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav", "session6/S20H/R/MSP-IMPROV-S20H-M06-R-MF02.wav"]
    write_clips(tmp_path / place, [*clips, "session1/S02N/S/MSP-IMPROV-S02N-F01-S-FM03.wav"])
    write_text(
        tmp_path / "Evalution.txt",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:3.000000; V:2.000000; D:5.000000 ; N:4.333333;",
        "A2KBTQ; Angry; Frustrated; A:4.000000; V:2.000000; D:NaN ; N:4.000000;",
        "",
        "UTD-IMPROV-S20H-M06-R-MF02.avi; X; A:1.000000; V:5.000000; D:NaN ; N:NaN;",
        "",
        "UTD-IMPROV-S02N-F01-S-FM03.avi; N; A:NaN; V:NaN; D:NaN;",
    )
    angry, calm, unsure = MspImprov(tmp_path, allow_incomplete=True).read()
    assert (angry.speaker, angry.sex, angry.emotion) == ("F01", "female", "anger")
    assert (angry.label_source, angry.ratings) == ("rated", {"valence": 0.25, "arousal": 0.5, "dominance": 1.0})
    assert (calm.emotion, calm.label_source, calm.ratings) == ("neutral", None, None)
    assert (unsure.speaker, unsure.sex, unsure.emotion) == ("M06", "male", None)
    assert unsure.ratings == {"valence": 1.0, "arousal": 0.0}
