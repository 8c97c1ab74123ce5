from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.fusion.empathetic_dialogues import EmpatheticDialogues
from pixel_mm.data.fusion.row import check_disjoint
from tests.data.corpora.clips import write_text

HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_text(
        tmp_path / "train.csv",
        HEADER,
        'hit:0_conv:1,1,sentimental,I miss,1,"Well_comma_ I miss my old  friend,5|5|5_2|2|5,',
        "hit:0_conv:1,2,sentimental,I miss,0,Where did she go?,5|5|5_2|2|5,",
        "hit:0_conv:1,3,sentimental,I miss,1,Abroad.,5|5|5_2|2|5,",
        "hit:1_conv:2,1,afraid,Alone,2,Nobody answered me.,5|5|5_2|2|5,",
        "hit:1_conv:3,1,afraid,Alone,3,I said this.,5|5|5_2|2|5,",
        "hit:1_conv:3,2,afraid,Alone,3,And I went on.,5|5|5_2|2|5,",
    )
    for name, number in (("valid", 4), ("test", 5)):
        lines = (f"c{number},1,joyful,p,1,I won {number}!,5,", f"c{number},2,joyful,p,0,Congratulations!,5,")
        write_text(tmp_path / f"{name}.csv", HEADER, *lines)
    return tmp_path


def test_the_first_exchange_is_a_row(root: Path) -> None:
    train, validation, test = EmpatheticDialogues(root).read()
    assert (train.text, train.response) == ('"Well, I miss my old friend', "Where did she go?")
    assert (train.group, train.scores, train.clip) == ("sentimental", {}, None)
    assert (train.split, validation.split, test.split) == ("train", "validation", "test")
    check_disjoint([train, validation, test])


def test_a_broken_release_is_named(root: Path) -> None:
    write_text(root / "test.csv", HEADER, "c5,1,joyful")
    with pytest.raises(CorpusError, match=r"test\.csv, line 2: has no speaker_idx and no utterance"):
        EmpatheticDialogues(root).read()
    (root / "valid.csv").unlink()
    with pytest.raises(CorpusError, match=r"valid\.csv missing(.|\n)*CC BY-NC"):
        EmpatheticDialogues(root).read()
