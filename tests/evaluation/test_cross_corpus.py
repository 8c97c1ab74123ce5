import dataclasses
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import Corpus, CorpusError
from pixel_mm.data.splits import SplitError
from pixel_mm.evaluation.cross_corpus import PairedCorpus
from pixel_mm.evaluation.protocols import CrossCorpus


class Made(Corpus):
    url = licence = expected = "made up"
    language = None

    def __init__(self, title, rows):
        super().__init__(Path("/") / title)
        self.title, self.rows = title, rows

    def read(self):
        return self.rows


def renamed(rows, emotions, title):
    moved = [dataclasses.replace(u, path=Path(f"/{title}") / u.path.name) for u in rows]
    return Made(title, [dataclasses.replace(u, emotion=emotions.get(u.emotion, u.emotion)) for u in moved])


def test_both_corpora_as_one_over_what_they_share(make_rows):
    first = renamed(make_rows(speakers=2), {}, "A")
    second = renamed(make_rows(speakers=3), {"anger": "disgust"}, "B")
    rows = PairedCorpus(first, second).read()
    assert {u.emotion for u in rows} == {"happiness", "sadness"}
    assert {u.speaker for u in rows} == {"A/s0", "A/s1", "B/s0", "B/s1", "B/s2"}
    (fold,) = CrossCorpus().folds(rows)
    assert {rows[row].path.parent.name for row in fold.train} == {"A"}
    assert {rows[row].path.parent.name for row in fold.test} == {"B"}
    assert len(fold.train) + len(fold.test) == len(rows) == 20


def test_corpora_without_enough_in_common_are_refused(make_rows):
    first = renamed(make_rows(), {}, "A")
    with pytest.raises(CorpusError, match="fewer than two"):
        PairedCorpus(first, renamed(make_rows(), {"anger": "disgust", "sadness": "boredom"}, "B")).read()


def test_ratings_alone_can_be_shared(make_rows):
    first = renamed(make_rows(), {}, "A")
    second = renamed(make_rows(), dict.fromkeys(("anger", "happiness", "sadness")), "B")
    second.rows = [dataclasses.replace(u, emotion=None) for u in second.rows]
    rows = PairedCorpus(first, second).read()
    assert len(rows) == 48
    assert {u.emotion for u in rows} == {None}


def test_rated_and_mapped_corpora_are_not_mixed(make_rows):
    first, second = renamed(make_rows(), {}, "A"), renamed(make_rows(), {}, "B")
    second.rows = [dataclasses.replace(u, label_source="rated") for u in second.rows]
    with pytest.raises(ValueError, match="rated and mapped"):
        PairedCorpus(first, second).read()


def test_a_corpus_is_not_tested_on_itself(make_rows):
    one = renamed(make_rows(), {}, "A")
    with pytest.raises(SplitError, match="A/s0"):
        CrossCorpus().folds(PairedCorpus(one, one).read())
