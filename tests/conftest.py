"""Fixtures every test may use: the real recordings, where there are any."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pixel_mm_data() -> Path:
    """Folder of real corpora; the test is skipped, saying so, where PIXEL_MM_DATA names none."""
    folder = os.environ.get("PIXEL_MM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PIXEL_MM_DATA names no folder of real recordings")
    return Path(folder)
