"""The fusion training benchmark: its smoke run measures every target."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fusion_training import main
from benchmarks.fusion_training_process import read_batches, save_batches
from benchmarks.fusion_untouched import untouched_measures
from pixel_mm.chat import ChatTokens
from pixel_mm.data.fusion.batch import RowCollator, RowContent


@pytest.fixture
def emobank(tmp_path: Path) -> Path:
    """A few sentences in all three parts."""
    folder = tmp_path / "emobank"
    folder.mkdir()
    with (folder / "emobank.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "split", "V", "A", "D", "text"))
        for split in ("train", "dev", "test"):
            for number, valence in enumerate((2.2, 3.0, 3.8) * 3):
                writer.writerow((f"{split}_{number}", split, valence, 3, 3, f"This is {split} sentence {number}."))
    return folder


@pytest.mark.slow
def test_the_smoke_run_measures_every_target(emobank: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    main(["--quick", "--threads", "1", "--output", str(output), "--emobank-root", str(emobank), "--emodb-root", "none"])
    result = json.loads(output.read_text())
    assert result["quick"] is True
    found = {measure["id"]: measure for measure in result["measures"]}
    assert {name.split("-")[0] for name in found} == {"1", "4", "5", "6"}
    for name in ("1-qwen3", "1-qwen3-moe", "4-loss-recipe", "4-loss-top-two", "6-keys", "6-size"):
        assert found[name]["reached"], found[name]
    assert {"5-whole", "5-upper", "5-recomputed", "5-experts"} <= found.keys()
    assert found["5-whole-measured"]["value"] > 0


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
