"""Fixtures every test may use: the real recordings, where there are any."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.tone_corpus import write_tone_corpus


@pytest.fixture(scope="session")
def pixel_mm_data() -> Path:
    """Folder of real corpora; the test is skipped, saying so, where PIXEL_MM_DATA names none."""
    folder = os.environ.get("PIXEL_MM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PIXEL_MM_DATA names no folder of real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def few_emodb(pixel_mm_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a quarter of EmoDB, two clips of each speaker's each emotion: links to the real recordings.

    It is read with `data.corpus.allow_incomplete=true`.
    """
    folder = tmp_path_factory.mktemp("few") / "emodb"
    (folder / "wav").mkdir(parents=True)
    (folder / "erkennung.txt").symlink_to(pixel_mm_data.resolve() / "emodb" / "erkennung.txt")
    seen: Counter[tuple[str, str]] = Counter()
    for clip in sorted((pixel_mm_data.resolve() / "emodb" / "wav").glob("*.wav")):
        kind = (clip.name[:2], clip.name[5])  # 03a01Fa.wav: speaker 03, F of happiness
        seen[kind] += 1
        if seen[kind] <= 2:
            (folder / "wav" / clip.name).symlink_to(clip)
    return folder


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `manifest.csv` and 24 WAVs of tones, 4 speakers x 6 emotions; shared by all tests, so only read it."""
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "tone_corpus")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of `TinyRegressor` as export publishes it; shared by all tests, so copy it before changing it."""
    from tests.tiny_emotion import publish_tiny

    return publish_tiny(tmp_path_factory.mktemp("exported") / "emotion")


@pytest.fixture(scope="session")
def tiny_fusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of a fused model with cross-attention, ONNX and TorchScript; copy it before changing it."""
    from tests.tiny_fusion_folder import publish_tiny_fusion

    return publish_tiny_fusion(tmp_path_factory.mktemp("fused") / "model", formats=("onnx", "torchscript"))


@pytest.fixture(scope="session")
def tiny_soft_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of a fused model with soft tokens, ONNX alone; copy it before changing it."""
    from tests.models.fusion.tiny_fusion import SOFT_TOKENS
    from tests.tiny_fusion_folder import publish_tiny_fusion

    return publish_tiny_fusion(tmp_path_factory.mktemp("soft") / "model", adapter=SOFT_TOKENS)


@pytest.fixture(scope="session")
def recognizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of `tiny_recognizer` in float32 and int8; shared by all tests, so copy it before changing it."""
    from tests.tiny_recognition import publish_tiny_recognizer

    return publish_tiny_recognizer(tmp_path_factory.mktemp("recognizer"), ("float32", "int8"))


@pytest.fixture(scope="session")
def second_recognizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network of the same shape, whose transcripts differ."""
    from tests.tiny_recognition import publish_tiny_recognizer

    return publish_tiny_recognizer(tmp_path_factory.mktemp("second"), ("float32",), seed=5)
