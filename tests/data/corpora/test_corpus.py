import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import datasets
import pytest

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus, RatedCorpus, from_dataset, mapped_labels, to_dataset
from pixel_mm.data.utterance import Utterance
from tests.data.corpora.clips import write_clips


class Letters(FolderCorpus):
    title = "Letters"
    url = "https://example.org/letters"
    licence = "CC BY 4.0"
    language = "en"
    expected = "a.wav, b.wav and c.wav"
    num_clips = 3
    listed: ClassVar[tuple[str, ...]] = ("c", "a", "b")

    def utterances(self) -> Iterator[Utterance]:
        for name in self.listed:
            yield Utterance(path=self.root / f"{name}.wav", speaker=name, **mapped_labels("anger"))


class RatedLetters(RatedCorpus):
    title, url, licence, language, expected = "Rated", "https://example.org", "CC BY 4.0", "en", "a.wav"
    scale = (1.0, 5.0)
    rating: ClassVar[float] = 3.0
    emotion: ClassVar[str | None] = "anger"

    def utterances(self) -> Iterator[Utterance]:
        labels = self.labels(self.emotion, {"valence": 1.0, "arousal": self.rating, "dominance": float("nan")})
        yield Utterance(path=self.root / "a.wav", speaker="a", **labels)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "letters", ["c.wav", "b.wav", "a.wav"])


def test_clips_come_in_one_order_whatever_the_disk_says(letters: Path) -> None:
    assert [clip.path.name for clip in Letters(letters).read()] == ["a.wav", "b.wav", "c.wav"]


def test_missing_folder_says_what_where_from_and_under_what_licence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        Letters(tmp_path / "nowhere").read()
    for part in (
        "there is no such",
        str(tmp_path / "nowhere"),
        "a.wav, b.wav and c.wav",
        "https://example.org/letters",
        "CC BY 4.0",
    ):
        assert part in str(caught.value)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="none of its clips is there"):
        Letters(tmp_path, allow_incomplete=True).read()


def test_labelled_clip_without_audio_is_refused_by_name(letters: Path) -> None:
    (letters / "b.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of its 3 labelled clips have no audio \(.*b\.wav"):
        Letters(letters).read()


def test_half_copied_corpus_is_refused(letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Letters, "listed", ("a", "b"))
    with pytest.raises(CorpusError, match=r"2 clips are there, the whole release has 3; .*allow_incomplete"):
        Letters(letters).read()


def test_chosen_part_of_a_corpus_is_read(letters: Path) -> None:
    (letters / "b.wav").unlink()
    assert [clip.speaker for clip in Letters(letters, allow_incomplete=True).read()] == ["a", "c"]


def test_label_out_of_range_is_refused_with_file_and_field(letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RatedLetters, "rating", 6.0)
    with pytest.raises(CorpusError, match=r"a\.wav: rating 'arousal' is 1\.25"):
        RatedLetters(letters).read()


def test_rated_and_mapped_labels_are_told_apart(letters: Path) -> None:
    rated, mapped = RatedLetters(letters).read()[0], RatedLetters(letters, label_source="mapped").read()[0]
    assert (rated.label_source, rated.ratings) == ("rated", {"valence": 0.0, "arousal": 0.5})
    assert (mapped.label_source, mapped.ratings) == ("mapped", mapped_labels("anger")["ratings"])


def test_clip_without_agreed_category_has_no_mapped_labels(letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RatedLetters, "emotion", None)
    assert RatedLetters(letters).read()[0].emotion is None
    assert RatedLetters(letters, label_source="mapped").read() == []


def test_unknown_label_source_is_refused(letters: Path) -> None:
    with pytest.raises(CorpusError, match="label_source is 'guessed'; it is rated or mapped"):
        RatedLetters(letters, label_source="guessed")  # type: ignore[arg-type]


def test_category_without_mapped_ratings_has_none() -> None:
    assert mapped_labels("other") == {"emotion": "other", "ratings": None, "label_source": None}


def test_utterances_can_be_sent_to_worker_processes(letters: Path) -> None:
    clips = Letters(letters).read()
    assert pickle.loads(pickle.dumps(clips)) == clips


ROUND_TRIP = [
    Utterance(path=Path("/corpus/a.wav"), speaker="a", **mapped_labels("fear")),
    Utterance(
        path=Path("/corpus/b.flac"),
        speaker="b",
        start_seconds=1.25,
        end_seconds=2.5,
        sex="female",
        language="de",
        transcript="Grüße",
        emotion="other",
        ratings={"valence": 0.1, "dominance": 1.0},
        label_source="rated",
        split="validation",
    ),
    Utterance(path=Path("/corpus/c.wav"), speaker="c"),
]


def test_table_keeps_every_field() -> None:
    assert from_dataset(to_dataset(ROUND_TRIP)) == ROUND_TRIP


def test_table_keeps_its_columns_without_rows() -> None:
    table = to_dataset([])
    assert len(table) == 0
    assert from_dataset(table) == []
    assert "arousal" in table.column_names


def test_table_holds_audio_undecoded() -> None:
    table = to_dataset(ROUND_TRIP)
    assert table.features["audio"] == datasets.Audio(decode=False)
    assert table[0]["audio"] == {"bytes": None, "path": "/corpus/a.wav"}


def test_table_needs_no_torchcodec(letters: Path) -> None:
    code = (
        "import sys; sys.modules['torchcodec'] = None\n"
        "from pathlib import Path; from pixel_mm.data.corpora.corpus import *; from pixel_mm.data.utterance import *\n"
        f"rows = to_dataset([Utterance(path=Path({str(letters / 'a.wav')!r}), speaker='a')])\n"
        "print(from_dataset(rows)[0].path.name, rows[0]['audio']['path'][-5:])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["a.wav", "a.wav"]
