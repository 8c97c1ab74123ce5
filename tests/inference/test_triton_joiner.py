"""What joins a recogniser's encoder and decoder on a server, as far as it runs without one."""

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pixel_mm
from pixel_mm.exporters.joined_version import _write_code
from pixel_mm.inference.triton_joiner.parts import FILE, Part, Parts, PartsError
from pixel_mm.inference.triton_joiner.request_inputs import Limits, read_options, read_waveform

LIMITS = Limits(min_samples=400, max_samples=480_000, max_beam_size=5, max_tokens=224, tokens_per_partial=4)
NOTHING: dict[str, Any] = {"language": None, "beam_size": None, "hot_words": None}


def texts(*values: bytes) -> np.ndarray:
    return np.array(values, dtype=np.object_)


def test_what_is_left_out_of_a_request_has_a_default() -> None:
    english = read_options(NOTHING, LIMITS, multilingual=False)
    assert (english.language, english.beam_size, english.hot_words, english.max_tokens) == ("en", 1, (), 224)
    assert read_options(NOTHING, LIMITS, multilingual=True).language is None
    assert read_options({**NOTHING, "language": texts(b"")}, LIMITS, multilingual=True).language is None
    words = texts(b"Pixel", "süß".encode())
    chosen = {"language": texts(b"de"), "beam_size": np.array([3], np.int32), "hot_words": words}
    found = read_options(chosen, LIMITS, multilingual=True)
    assert (found.language, found.beam_size, found.hot_words) == ("de", 3, ("Pixel", "süß"))


def test_a_waveform_is_taken_from_25_ms_to_30_s() -> None:
    for size in (400, 480_000):
        assert read_waveform(np.zeros(size, np.float32), LIMITS).size == size
    for wrong, message in ((399, "waveform has 399"), (480_001, "waveform has 480001"), (None, "waveform is missing")):
        with pytest.raises(ValueError, match=message):
            read_waveform(None if wrong is None else np.zeros(wrong, np.float32), LIMITS)
    with pytest.raises(ValueError, match="waveform has 2 samples that are NaN or infinite"):
        read_waveform(np.array([0.0] * 400 + [np.nan, np.inf], np.float32), LIMITS)


def test_limits_are_in_the_configuration() -> None:
    parameters = {"min_seconds": "0.025", "max_seconds": "30", "max_beam_size": "5", "max_tokens": "224"}
    assert Limits.of({**parameters, "tokens_per_partial": "4"}) == LIMITS
    with pytest.raises(ValueError, match="lacks the parameter 'tokens_per_partial'"):
        Limits.of(parameters)


def test_parts_of_another_export_are_refused(tmp_path: Path) -> None:
    for role in ("encoder", "decoder"):
        (tmp_path / role / "3").mkdir(parents=True)
        (tmp_path / role / "3" / "model.onnx").write_bytes(role.encode())
    digests = {role: hashlib.sha256(role.encode()).hexdigest() for role in ("encoder", "decoder")}
    encoder, decoder = (Part(role, 3, {"model.onnx": digest}) for role, digest in digests.items())
    parts = Parts(encoder, decoder, 2, 2, 8, 100)
    parts.write(tmp_path)
    assert Parts.read(tmp_path) == parts
    parts.check(tmp_path)
    (tmp_path / "decoder" / "3" / "model.onnx").write_bytes(b"another")
    with pytest.raises(PartsError, match=r"decoder/3/model\.onnx is of another export"):
        parts.check(tmp_path)
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(PartsError, match=r"encoder/3/model\.onnx is missing"):
        parts.check(tmp_path)
    for content in ("{", "[]", json.dumps({"encoder": {}})):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(PartsError, match=r"parts\.json does not say what belongs together"):
            Parts.read(tmp_path)


class TritonModelException(Exception):  # noqa: N818  # the server's own name for it
    pass


def test_a_server_without_tokenizers_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ModuleType("triton_python_backend_utils")
    server.TritonModelException = TritonModelException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", server)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "pixel_mm"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "speech" / "1").mkdir(parents=True)
    place = Path(pixel_mm.__file__).parent / "inference" / "triton_joiner" / "model.py"
    spec = importlib.util.spec_from_file_location("joining_model", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = {"model_repository": str(tmp_path / "speech"), "model_version": "1", "model_config": "{}"}
    with pytest.raises(TritonModelException, match=r"1/decoding\.zip is missing; export the version again"):
        module.TritonPythonModel().initialize(arguments)
    _write_code(tmp_path / "speech" / "1" / "decoding.zip")
    with pytest.raises(TritonModelException, match=r"tokenizers.*python3 -m pip install 'numpy<2' tokenizers"):
        module.TritonPythonModel().initialize(arguments)
