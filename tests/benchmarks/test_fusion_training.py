"""The fusion training benchmark: its smoke run measures every target."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fusion_training import main
from benchmarks.fusion_training_process import read_batches, save_batches
from benchmarks.fusion_untouched import untouched_measures
from pixel_mm.chat import ChatTokens
from pixel_mm.data.fusion.batch import RowCollator, RowContent


@pytest.mark.slow
@pytest.mark.data
def test_the_smoke_run_measures_every_target(pixel_mm_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    main(["--quick", "--threads", "1", "--output", str(output)])  # roots are those below PIXEL_MM_DATA
    result = json.loads(output.read_text())
    assert result["quick"] is True
    found = {measure["id"]: measure for measure in result["measures"]}
    assert {name.split("-")[0] for name in found} == {"1", "4", "5", "6"}
    for name in ("1-qwen3", "1-qwen3-moe", "4-loss-recipe", "4-loss-lower-two", "4-loss-upper-two", "6-keys", "6-size"):
        assert found[name]["reached"], found[name]
    assert {"5-whole", "5-upper", "5-recomputed", "5-experts"} <= found.keys()
    assert found["5-whole-measured"]["value"] > 0


def test_without_recordings_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "x.json"), "--emobank-root", str(tmp_path), "--emodb-root", "nowhere"])
    assert "--emodb-root: nowhere is no folder" in capsys.readouterr().err


def test_random_backbones_are_untouched() -> None:
    assert [(measure.id, measure.value) for measure in untouched_measures(quick=True)] == [
        ("1-qwen3", 0.0),
        ("1-qwen3-moe", 0.0),
    ]


def test_batches_come_back_from_the_disk(tmp_path: Path) -> None:
    tokens = ChatTokens([1, 2, 3, 4], 1, 3)
    voice = np.zeros(800, dtype=np.float32)
    rows = [RowContent("a", 0, tokens, True, True, voice, "f" * 64, [0.5] * 8)]
    batch = RowCollator(0)(rows)
    save_batches([batch], tmp_path / "batches.pt")
    (again,) = read_batches(tmp_path / "batches.pt")
    assert again.keys == batch.keys
    assert again.input_ids.equal(batch.input_ids)
    assert again.waveform.equal(batch.waveform)
