import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.corpora.manifest import COLUMNS, Manifest
from tests.data.corpora.clips import write_clips, write_text

ROWS: list[dict[str, Any]] = [
    {
        "path": "clips/a.wav",
        "speaker": "s1",
        "start_seconds": 0.01,
        "end_seconds": 0.09,
        "sex": "female",
        "language": "en",
        "transcript": "yes, well",
        "emotion": "joy",
        "valence": 5,
        "arousal": 4,
        "dominance": 3,
        "split": "train",
    },
    {"path": "clips/b.wav", "speaker": "s2", "emotion": "anger"},
]


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def manifest(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return _write(tmp_path, request.param, ROWS)


def _write(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    write_clips(folder, ["clips/a.wav", "clips/b.wav"])
    file = folder / f"table{suffix}"
    if suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".jsonl":
        write_text(file, *(json.dumps(row) for row in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def _read(file: Path, **options: Any) -> list[Any]:
    return Manifest(file, rating_range=(1, 5), emotions={"joy": "happiness"}, **options).read()


def test_every_column_is_read_from_every_format(manifest: Path) -> None:
    assert set(ROWS[0]) == set(COLUMNS)
    first, second = _read(manifest)
    assert first.path == manifest.parent / "clips" / "a.wav"
    assert (first.start_seconds, first.end_seconds) == (0.01, 0.09)
    assert (first.speaker, first.sex, first.language, first.split) == ("s1", "female", "en", "train")
    assert (first.transcript, first.emotion) == ("yes, well", "happiness")
    assert (first.label_source, first.ratings) == ("rated", {"valence": 1.0, "arousal": 0.75, "dominance": 0.5})
    assert (second.emotion, second.ratings, second.label_source) == ("anger", None, None)


def test_mapped_labels_do_not_take_the_ratings(manifest: Path) -> None:
    first, second = _read(manifest, label_source="mapped")
    assert (first.label_source, second.label_source) == ("mapped", "mapped")
    assert first.ratings == {"valence": 0.905, "arousal": 0.755, "dominance": 0.73}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arousal": "loud"}, r"line 2, column 'arousal': 'loud' is no number"),
        ({"valence": "9"}, r"line 2: .*rating 'valence' is 2\.0"),
        ({"speaker": " "}, r"line 2, column 'speaker': is missing or empty"),
        ({"emotion": "glee"}, r"line 2: .*emotion 'glee' is not one of anger"),
        ({"sex": "f"}, r"line 2: .*field 'sex' is 'f'; it is one of female, male"),
        ({"end_seconds": "0"}, r"line 2: .*need 0 <= start < end"),
        ({"path": "clips/none.wav"}, r"line 2, column 'path': there is no file .*none\.wav"),
        ({"arousl": "3"}, r"line 2, column 'arousl': is not one of path, speaker"),
    ],
)
def test_errors_name_file_row_and_column(tmp_path: Path, change: dict[str, str], message: str) -> None:
    file = _write(tmp_path, ".csv", [ROWS[0] | change, ROWS[1]])
    with pytest.raises(CorpusError, match=rf"table\.csv, {message}"):
        _read(file)


def test_other_formats_count_their_rows_too(tmp_path: Path) -> None:
    broken = [ROWS[1], ROWS[0] | {"emotion": "glee"}]
    with pytest.raises(CorpusError, match=r"table\.jsonl, line 2: .*glee"):
        _read(_write(tmp_path, ".jsonl", broken))
    with pytest.raises(CorpusError, match=r"table\.parquet, row 2: .*glee"):
        _read(_write(tmp_path, ".parquet", broken))


def test_broken_json_and_rows_with_too_many_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"x\.jsonl, line 1, column 9: is no JSON"):
        _read(write_text(tmp_path / "x.jsonl", '{"path" "a"}'))
    with pytest.raises(CorpusError, match=r"y\.jsonl, line 1: is no JSON object"):
        _read(write_text(tmp_path / "y.jsonl", "[1]"))
    with pytest.raises(CorpusError, match="<more fields than columns>"):
        _read(write_text(tmp_path / "x.csv", "path,speaker", "a.wav,s1,calm"))


def test_unknown_format_and_missing_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"ends in \.csv, \.jsonl or \.parquet"):
        _read(write_text(tmp_path / "x.txt", "path,speaker"))
    with pytest.raises(CorpusError, match="there is no such file"):
        _read(tmp_path / "x.csv")


def test_columns_that_are_not_ours_are_left_alone_on_request(tmp_path: Path) -> None:
    file = _write(tmp_path, ".csv", [ROWS[1] | {"microphone": "2"}])
    assert len(_read(file, ignore_columns=["microphone"])) == 1


def test_rows_without_audio_are_left_out_on_request(tmp_path: Path) -> None:
    file = _write(tmp_path, ".csv", [ROWS[0], ROWS[1] | {"path": "clips/none.wav"}])
    assert [clip.speaker for clip in _read(file, allow_incomplete=True)] == ["s1"]


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="rating_range is"):
        Manifest(tmp_path / "x.csv", rating_range=(5, 1))
    with pytest.raises(CorpusError, match="it is rated or mapped"):
        Manifest(tmp_path / "x.csv", label_source="both")  # type: ignore[arg-type]


def test_the_tone_corpus_of_these_tests_is_a_manifest(tone_corpus: Path) -> None:
    clips = Manifest(tone_corpus / "manifest.csv", label_source="mapped").read()
    assert len(clips) == 24
    assert {clip.label_source for clip in clips} == {"mapped"}
