from pixel_mm.data.fusion.constructed_pairs import ConstructedPairs, stretched
from pixel_mm.data.fusion.row import FusionRow, check_disjoint
from pixel_mm.data.fusion.sentence_states import SentenceStates
from tests.data.fusion.voices import VOICES, Given

SENTENCES = [
    FusionRow(f"{split}{n}", "a book", text=f"The {split} sentence {n}", scores={"valence": valence, "arousal": 0.5},
              label_source="rated", split=split)
    for split in ("train", "validation", "test")
    for n, valence in enumerate((0.35, 0.5, 0.65))
]  # fmt: skip


def test_sentences_alone_are_their_own_valence_on_the_voices_range() -> None:
    rows = SentenceStates(Given(SENTENCES)).read()
    assert [row.scores for row in rows] == [{"valence": stretched(value)} for value in (0.35, 0.5, 0.65)]
    assert {(row.split, row.clip, row.label_source) for row in rows} == {("train", None, "constructed")}


def test_they_go_together_with_the_pairs_of_the_same_sentences() -> None:
    pairs = ConstructedPairs(Given(SENTENCES), Given(VOICES)).read()
    check_disjoint([*pairs, *SentenceStates(Given(SENTENCES), ("train", "validation", "test")).read()])
