"""TensorRT for a recogniser: what is known without it, and what happens where it is missing."""

import json
import re
import shlex
import stat
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hydra import compose, initialize_config_dir

from pixel_mm import export
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters import recognition_tensorrt
from pixel_mm.exporters.graph_file import read_graph
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.recognition_tensorrt import EngineSession, export_engines
from pixel_mm.exporters.tensorrt_lint import UnbuildableError, lint
from pixel_mm.inference.whisper_onnx import OnnxDecoder, open_session
from pixel_mm.model_folder import ModelFolder
from tests.tiny_recognition import publish_tiny_recognizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the float16 pair, and what is known of engines on a machine without TensorRT."""
    return publish_tiny_recognizer(tmp_path_factory.mktemp("tensorrt"), ("float16",), tensorrt=True)


def test_without_a_gpu_everything_but_the_engines_is_written(folder: Path) -> None:
    facts = json.loads((folder / "tensorrt.json").read_text())
    missing = json.loads((folder / "parity.json").read_text())["missing"]
    assert list(facts) == ["encoder.plan", "decoder.plan"]
    assert not list(folder.glob("*.plan"))
    for engine, about in facts.items():
        assert about["command"] in missing
        assert f"trtexec --onnx={engine[:7]}.fp16.onnx --saveEngine={engine} --stronglyTyped" in about["command"]
        assert about["linted"]["nodes"] == len(list(read_graph(folder / about["onnx"]).graph.all_nodes()))
    assert "no GPU" in missing
    assert "tensorrt.json" in ModelFolder(folder).open().files  # sealed with the rest


def test_profiles_name_every_input_with_shapes_that_the_graphs_take(folder: Path) -> None:
    """Smallest and usual shapes, of each profile, through onnxruntime; the largest ones too, for one row."""
    for about in json.loads((folder / "tensorrt.json").read_text()).values():
        session = onnxruntime.InferenceSession(str(folder / about["onnx"]), providers=["CPUExecutionProvider"])
        for profile in about["profiles"]:
            for option in ("--minShapes", "--optShapes", "--maxShapes"):
                shapes = {
                    name: [int(size) for size in shape.split("x")]
                    for name, _, shape in (part.partition(":") for part in profile[option].split(","))
                }
                assert list(shapes) == [tensor.name for tensor in session.get_inputs()]
                outputs = session.run(None, inputs_of(shapes))
                assert all(np.isfinite(output).all() for output in outputs)


def inputs_of(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    inputs: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        size = (1, *shape[1:])
        if name in ("num_samples", "num_frames"):
            other = "waveform" if name == "num_samples" else "speech_keys_0"
            inputs[name] = np.array([shapes[other][1 if name == "num_samples" else 2]])
        else:
            inputs[name] = np.zeros(size, np.int64 if name == "tokens" else np.float32)
    return inputs


def test_the_command_has_profiles_of_single_steps_and_of_whole_transcripts(folder: Path) -> None:
    facts = json.loads((folder / "tensorrt.json").read_text())
    steps, whole = facts["decoder.plan"]["profiles"]
    assert steps["--minShapes"].startswith("tokens:1x1,num_frames:1,speech_keys_0:1x2x")
    assert re.search(r"past_keys_0:1x2x0x8\b", steps["--minShapes"])
    assert re.search(r"past_keys_0:8x2x444x8\b", steps["--maxShapes"])
    assert steps["--maxShapes"].startswith("tokens:8x4,")
    assert whole["--maxShapes"].startswith("tokens:8x448,")
    command = shlex.split(facts["decoder.plan"]["command"])
    assert [word for word in command if word.startswith("--profile")] == ["--profile=0", "--profile=1"]
    assert "--minShapes=waveform:1x400,num_samples:1" in facts["encoder.plan"]["command"]
    assert "--maxShapes=waveform:8x480000,num_samples:8" in facts["encoder.plan"]["command"]


def test_int8_pairs_are_not_for_tensorrt(recognizer_folder: Path) -> None:
    with pytest.raises(UnbuildableError, match=r"decoder\.int8\.onnx: .*no operator com\.microsoft\.MatMulNBits"):
        lint(read_graph(recognizer_folder / "decoder.int8.onnx"), "decoder.int8.onnx")
    with pytest.raises(UnbuildableError, match=r"encoder\.int8\.onnx: .*no operator \w*MatMulInteger"):
        lint(read_graph(recognizer_folder / "encoder.int8.onnx"), "encoder.int8.onnx")
    with pytest.raises(
        ParityError, match=r"built of encoder\.fp16\.onnx, which is not there; add float16 to precisions"
    ):
        export_engines(recognizer_folder, 448)


def test_the_command_says_what_is_missing_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["target=recognizer", "recognizer.pretrained_weights=false", "precisions=[float16]", "tensorrt=true"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("export", [*options, f"output={tmp_path / 'model'}"])
    with pytest.raises(SystemExit) as ended:
        export.main(cfg)
    assert ended.value.code == export.UNAVAILABLE
    said = capsys.readouterr()
    assert "encoder.plan and decoder.plan were not built: there is no GPU" in said.err
    assert "model folder:" in said.out


@pytest.mark.parametrize("works", [True, False])
def test_where_it_is_the_commands_are_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """On a stand-in for trtexec: no machine of the tests has the real one."""
    monkeypatch.setattr(recognition_tensorrt, "missing_here", lambda: None)
    for name in ("encoder.fp16.onnx", "decoder.fp16.onnx"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    engine = 'for word in "$@"; do case $word in --saveEngine=*) echo "$@" > "${word#--saveEngine=}";; esac; done\n'
    program.write_text("#!/bin/sh\n" + (engine if works else "echo no kernel >&2; exit 1\n"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    if works:
        assert export_engines(tmp_path, 448) is None
        for name in ("encoder", "decoder"):
            assert f"--onnx={name}.fp16.onnx" in (tmp_path / f"{name}.plan").read_text()
    else:
        with pytest.raises(ParityError, match=r"trtexec failed for encoder\.plan with exit code 1: no kernel"):
            export_engines(tmp_path, 448)


def test_an_engine_is_searched_like_a_session(folder: Path) -> None:
    """Here onnxruntime stands for the engine: it gives all outputs by name, as an engine does."""

    class Engine:
        def __init__(self, path: Path) -> None:
            self.session = open_session(path)

        def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            names = [tensor.name for tensor in self.session.get_outputs()]
            return dict(zip(names, self.session.run(names, inputs), strict=True))

    paths = [folder / name for name in ("encoder.fp16.onnx", "decoder.fp16.onnx")]
    engines = OnnxDecoder(*(EngineSession(Engine(path), open_session(path)) for path in paths))  # type: ignore[arg-type]
    wanted = OnnxDecoder.load(folder, "float16", num_threads=1)
    clip, tokens = np.sin(np.arange(9000, dtype=np.float32)) / 10, np.array([[1, 2, 3]])
    found = [decoder.step(decoder.hear([clip]), tokens, None)[0] for decoder in (engines, wanted)]
    np.testing.assert_array_equal(*found)
