from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.tedlium import TedLium
from tests.data.corpora.clips import write_clips, write_text


def write_corpus(root: Path) -> Path:
    write_text(
        root / "train/stm/AnnaLee_2009.stm",
        "AnnaLee_2009 1 AnnaLee_2009 0.00 14.87 <o,f0,female> ignore_time_segment_in_scoring",
        "AnnaLee_2009 1 AnnaLee_2009 14.87 16.00 <o,f0,female> {NOISE} it 's a(2) new <unk> idea",
        "AnnaLee_2009 1 AnnaLee_2009 16.00 17.50 <NA> <unk>",
    )
    write_text(root / "dev/stm/Bo_2010.stm", ";; a remark", "Bo_2010 1 Bo_2010 1.5 2.5 <o,f0,male> they didn 't")
    write_text(root / "test/stm/Cy_2010.stm", "Cy_2010 1 Cy_2010 0 2 <o,f0,male> rock 'n' roll")
    return write_clips(root, ["train/sph/AnnaLee_2009.sph", "dev/sph/Bo_2010.sph", "test/sph/Cy_2010.sph"])


@pytest.mark.parametrize("below", ["", "legacy"])
def test_segments_of_all_releases(tmp_path: Path, below: str) -> None:
    write_corpus(tmp_path / below)
    bo, cy, first, second = TedLium(tmp_path).read()
    assert (first.start_seconds, first.end_seconds, first.sex, first.split) == (14.87, 16.0, "female", "train")
    assert first.speaker == "AnnaLee_2009"
    assert (bo.split, bo.sex, cy.split) == ("validation", "male", "test")
    assert (second.sex, second.transcript) == (None, None)


def test_transcripts_hold_what_was_said_and_no_marks(tmp_path: Path) -> None:
    bo, cy, first, _ = TedLium(write_corpus(tmp_path)).read()
    assert first.transcript == "it's a new idea"
    assert bo.transcript == "they didn't"
    assert cy.transcript == "rock 'n' roll"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    with pytest.raises(CorpusError, match="part 'eval' is not one of train, dev, test"):
        TedLium(tmp_path, parts=["eval"])
    write_text(tmp_path / "dev/stm/Bo_2010.stm", "", "Bo_2010 1 Bo_2010 they didn't")
    with pytest.raises(CorpusError, match=r"Bo_2010\.stm, line 2: 'Bo_2010 1 Bo_2010 they didn't' is not TALK"):
        TedLium(tmp_path).read()
    (tmp_path / "train/sph/AnnaLee_2009.sph").unlink()
    with pytest.raises(CorpusError, match=r"1 of its 3 labelled clips have no audio.*AnnaLee_2009\.sph"):
        TedLium(tmp_path, parts=["train", "test"]).read()
