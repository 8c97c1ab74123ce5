"""What tests of a Triton repository look at."""

from pathlib import Path

from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions, read_config, served_versions

OPTIONS = TritonOptions()


def served(model: ModelRepository) -> list[int]:
    """What the server reads."""
    return served_versions(read_config(model.path / "config.pbtxt"), ())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
