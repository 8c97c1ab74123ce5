import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.export_serving import int8_speed, mixed_lengths, ratio, server_speed
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


def test_int8_is_measured_where_there_is_one(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    assert int8_speed(ModelFolder(place), threads=1, repeats=2) == []


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
    write_repository(tmp_path / "repository", ModelFolder(tiny_model_folder), 1, [16_000], None)
    requests = tmp_path / "requests.json"
    write_requests(requests, [np.zeros(800, np.float32)], [800])
    with (
        TritonServer(tmp_path / "repository") as server,  # nothing is loaded
        pytest.raises(RuntimeError, match="emotion"),
    ):
        generate_load(server, requests, concurrency=1, count=4)
