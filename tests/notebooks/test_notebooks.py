"""Every notebook is stripped, and runs from top to bottom as somebody who opens it would run it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stripped(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.triton if "serve" in path.stem else ()) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where notebooks write
    monkeypatch.setenv("PIXEL_MM_NOTEBOOK_CLIPS", "40")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    try:
        client.execute()
    finally:
        executed = ROOT / "outputs" / "notebooks" / path.name  # for a look at what it shows
        executed.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, executed)
