import os
from collections import Counter
from pathlib import Path

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.fusion.bias_sets import CrowSPairs, HateCheck
from pixel_mm.data.fusion.row import check_disjoint
from pixel_mm.data.splits import SplitError
from tests.data.corpora.clips import write_text

CASES = ",functionality,case_id,test_case,label_gold,target_ident"
PAIRS = ",sent_more,sent_less,stereo_antistereo,bias_type"


def test_hatecheck_says_what_is_hateful(tmp_path: Path) -> None:
    lines = ("0,derog,1,They are all thieves. ,hateful,immigrants", "1,target_obj_nh,2,I hate rain.,non-hateful,")
    write_text(tmp_path / "test_suite_cases.csv", CASES, *lines)
    hateful, harmless = HateCheck(tmp_path).read()
    assert (hateful.scores, hateful.group, hateful.speaker) == ({"bias": 1.0}, "derog", "immigrants")
    assert (harmless.scores, harmless.text, harmless.speaker) == ({"bias": 0.0}, "I hate rain.", "no group")


def test_pairs_keep_the_order_of_more_and_less(tmp_path: Path) -> None:
    write_text(tmp_path / "crows_pairs_anonymized.csv", PAIRS, "0,Old people forget.,Young people forget.,stereo,age")
    (pair,) = CrowSPairs(tmp_path).read()
    assert (pair.stereotyped, pair.other, pair.bias_type) == ("Old people forget.", "Young people forget.", "age")


def test_broken_sets_are_named(tmp_path: Path) -> None:
    for source, name in ((HateCheck(tmp_path), "test_suite_cases"), (CrowSPairs(tmp_path), "crows_pairs_anonymized")):
        with pytest.raises(CorpusError, match=rf"{name}\.csv is missing"):
            source.read()
    write_text(tmp_path / "test_suite_cases.csv", CASES, "0,derog,1,Text,rude,women")
    with pytest.raises(CorpusError, match="line 2: label_gold is 'rude'"):
        HateCheck(tmp_path).read()
    write_text(tmp_path / "test_suite_cases.csv", CASES, "0,derog,1,Text")
    with pytest.raises(CorpusError, match="line 2: has no label_gold and no target_ident"):
        HateCheck(tmp_path).read()
    write_text(tmp_path / "crows_pairs_anonymized.csv", PAIRS, "0,Old people forget., ,stereo,age")
    with pytest.raises(CorpusError, match="a sentence of the pair is missing"):
        CrowSPairs(tmp_path).read()


@pytest.mark.data
@pytest.mark.skipif("PIXEL_MM_DATA" not in os.environ, reason="PIXEL_MM_DATA is not set")
def test_the_real_ones() -> None:
    root = Path(os.environ["PIXEL_MM_DATA"])
    cases, pairs = HateCheck(root / "hatecheck").read(), CrowSPairs(root / "crows_pairs").read()
    assert Counter(row.scores["bias"] for row in cases) == {1.0: 2563, 0.0: 1165}
    assert len(pairs) == 1508
    assert len({pair.bias_type for pair in pairs}) == 9


FAMILIES = (CASES + ",ref_templ_id,templ_id").strip()


def test_what_was_made_from_one_template_stays_in_one_part(tmp_path: Path) -> None:
    lines = [f"{n},derog,{n},They are all {n}.,hateful,women,,{n}" for n in range(1, 31)]
    lines += [f"{n},negate,{n},They are not all {n}.,non-hateful,women,{n - 30},{n}" for n in range(31, 61)]
    lines += ["99,other,99,THEY ARE ALL 5!,hateful,women,,99"]  # the words of another template
    write_text(tmp_path / "test_suite_cases.csv", FAMILIES, *lines)
    source = HateCheck(tmp_path, {"validation": 0.2, "test": 0.3})
    rows = {row.key: row for row in source.read()}
    check_disjoint(list(rows.values()))
    for number in range(1, 31):
        assert rows[f"hatecheck:{number}"].split == rows[f"hatecheck:{number + 30}"].split
    assert rows["hatecheck:99"].split == rows["hatecheck:5"].split
    counts = Counter(row.split for row in rows.values())
    assert 18 <= counts["test"] <= 21
    assert 12 <= counts["validation"] <= 15
    assert list(rows.values()) == source.read()
    with pytest.raises(SplitError, match="together less than 1"):
        HateCheck(tmp_path, {"test": 1.0}).read()


@pytest.mark.data
@pytest.mark.skipif("PIXEL_MM_DATA" not in os.environ, reason="PIXEL_MM_DATA is not set")
def test_the_published_templates_are_apart() -> None:
    rows = HateCheck(Path(os.environ["PIXEL_MM_DATA"], "hatecheck"), {"validation": 0.1, "test": 0.3}).read()
    check_disjoint(rows)
    assert 0.29 < sum(row.split == "test" for row in rows) / len(rows) < 0.33
    assert {row.scores["bias"] for row in rows if row.split == "test"} == {0.0, 1.0}
