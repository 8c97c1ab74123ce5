"""What the stand-in backends refuse, without a server."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import pixel_mm.serving

BACKENDS = Path(pixel_mm.serving.__file__).parent / "backends"


class TritonModelException(Exception):  # noqa: N818  # the server's own name for it
    pass


@pytest.mark.parametrize("backend", ["onnxruntime", "pytorch"])
def test_numpy_2_is_refused_since_the_server_would_give_empty_outputs(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert np.__version__ >= "2"
    server = ModuleType("triton_python_backend_utils")
    server.TritonModelException = TritonModelException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", server)
    monkeypatch.setenv("PIXEL_MM_TORCH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("stand_in", BACKENDS / backend / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(TritonModelException, match="this server needs numpy 1"):
        module.TritonPythonModel().initialize({})
