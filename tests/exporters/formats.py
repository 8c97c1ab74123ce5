"""Formats of the tiny network, as conf/formats describes them, for tests."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.parity import Arrays, RunnableModel, make_cases
from pixel_mm.exporters.publish import Format
from tests.tiny_emotion import tiny_graph

ONNX_FORMATS = ("onnx", "onnx_fp16", "onnx_bf16", "onnx_int8", "onnx_int8_dynamic")


@cache
def configured() -> dict[str, Format]:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("export", ["run=.", "output=.", "formats=all"])
    return {name: instantiate(node) for name, node in cfg.formats.items()}


class FewClips:
    """Stands in for a run's clips: noise with labels that nothing can know."""

    part = "test"
    num_samples = np.array([16_000, 30_000, 48_000])

    def __init__(self) -> None:
        self.calibrated = 0

    def calibration(self) -> Iterator[Arrays]:
        for case in make_cases(tiny_graph()[1], seed=3):
            self.calibrated += 1
            yield case.alone(0)

    def measure(self, model: RunnableModel) -> dict[str, float]:
        outputs = [model(case.inputs)["valence"] for case in make_cases(tiny_graph()[1], seed=4)]
        return {
            "num_clips": 11.0,
            "ccc_valence": float(np.concatenate(outputs).mean()),
            "ua": 0.5,
            "ua_of_one_clip": 0.1,
        }


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
