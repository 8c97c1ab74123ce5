import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.export_serving import int8_speed, mixed_lengths, options, ratio, server_speed
from benchmarks.report import Measure
from benchmarks.served_model import generate_load, write_repository, write_requests
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.server import TritonServer


def by_id(measures: list[Measure]) -> dict[str, Measure]:
    return {measure.id: measure for measure in measures}


def test_a_ratio_is_of_medians_and_its_spread_of_turns() -> None:
    value, spread = ratio(np.array([2.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0]))
    assert value == 2.0
    assert spread == (2.0, 3.0)


def test_int8_is_judged_by_speed_and_by_what_it_loses(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = ModelFolder(Path(shutil.copytree(tiny_model_folder, tmp_path / "model")))
    assert int8_speed(folder, threads=1, repeats=2) == []  # there is none
    shutil.copy(folder.onnx, folder.path / "model.int8.onnx")
    parity = json.loads(folder.parity.read_text())
    parity["files"]["model.onnx"]["metrics"] = {"num_clips": 5, "ua": 0.5, "ccc_valence": 0.5, "ccc_arousal": 0.5}
    parity["files"]["model.int8.onnx"] = {"metrics": {"num_clips": 5, "ua": 0.49, "ccc_valence": 0.48}}
    folder.parity.write_text(json.dumps(parity))
    measures = by_id(int8_speed(folder, threads=1, repeats=2))
    assert measures["3-int8"].value > 0
    assert (measures["3-int8-ua"].value, measures["3-int8-ua"].reached) == (1.0, True)
    assert (measures["3-int8-ccc_valence"].value, measures["3-int8-ccc_valence"].reached) == (2.0, False)
    assert "3-int8-ccc_arousal" not in measures


@pytest.mark.triton
@pytest.mark.slow
def test_serving_is_measured_on_the_real_server(tiny_model_folder: Path) -> None:
    folder = ModelFolder(tiny_model_folder)
    served = by_id(server_speed(folder, threads=1, turns=1, seconds=0.2))
    assert served["1"].value == pytest.approx(served["1-served"].value / served["1-in-process"].value)
    mixed = by_id(mixed_lengths(folder, threads=1, turns=1, count=32))
    assert mixed["2"].value == pytest.approx(mixed["2-batching"].value / mixed["2-one-by-one"].value)
    assert mixed["2-difference"].reached
    assert all(measure.value > 0 for measure in (*served.values(), *mixed.values()))


@pytest.mark.triton
@pytest.mark.slow
def test_a_load_that_fails_says_why(tiny_model_folder: Path, tmp_path: Path) -> None:
    write_repository(tmp_path / "repository", ModelFolder(tiny_model_folder), options(threads=1))
    requests = tmp_path / "requests.json"
    write_requests(requests, [np.zeros(800, np.float32)], [800])
    with (
        TritonServer(tmp_path / "repository") as server,  # nothing is loaded
        pytest.raises(RuntimeError, match="emotion"),
    ):
        generate_load(server, requests, concurrency=1, count=4)
