import csv
from pathlib import Path

import soundfile

from tests.tone_corpus import MANIFEST_COLUMNS, write_tone_corpus


def test_tone_corpus_is_what_tests_are_told_it_is(tone_corpus: Path) -> None:
    with open(tone_corpus / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert len(rows) == 24
    assert len({row["speaker"] for row in rows}) == 4
    for row in rows:
        info = soundfile.info(tone_corpus / row["path"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert 0.5 <= info.duration <= 1.5


def test_tone_corpus_is_the_same_every_time(tone_corpus: Path, tmp_path: Path) -> None:
    again = write_tone_corpus(tmp_path / "again")
    for path in sorted(tone_corpus.rglob("*.*")):
        assert (again / path.relative_to(tone_corpus)).read_bytes() == path.read_bytes()
