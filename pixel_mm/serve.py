"""A Triton server on this machine, to try an export on.

    make serve
    python -m pixel_mm.serve [REPOSITORY | MODEL_FOLDER]

Without an argument it takes the newest export below `runs`: a Triton repository, or a model folder, of which it makes a
repository for as long as it runs. The server is the real one, from wheels, listens on loopback only and ends with
Ctrl-C. It is for trying: docs/serving.md says what it lacks.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pixel_mm.exporters.fused_model import FusedOptions, publish_fused
from pixel_mm.exporters.joined_model import JoinedModel, find_joined
from pixel_mm.exporters.joined_version import Pair
from pixel_mm.exporters.joiner_config import JoinerOptions
from pixel_mm.exporters.repository import ModelRepository, models
from pixel_mm.exporters.triton import CONFIG, TritonOptions, read_config
from pixel_mm.fusion_spec import TASK as FUSION
from pixel_mm.inference.whisper_onnx import FILES
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer

USER_ERROR = 2
SPEC = "model.yaml"


def find_export(runs: Path) -> Path:
    """The newest Triton repository or model folder below a folder, by when it was changed last.

    Raises:
        ServingError: there is none.
    """
    repositories = {path.parent: path.parent.parent for path in runs.glob(f"**/{CONFIG}")}
    in_repositories = [path.parent for model in repositories for path in model.glob(f"*/{SPEC}")]
    folders = {path.parent: path.parent for path in runs.glob(f"**/{SPEC}") if path.parent not in in_repositories}
    found = {**repositories, **folders}
    if not found:
        raise ServingError(f"no export below {runs}; give one: python -m pixel_mm.serve REPOSITORY_OR_MODEL_FOLDER")
    return found[max(found, key=lambda path: path.stat().st_mtime)]


def make_repository(folder: ModelFolder, place: Path) -> Path:
    """A Triton repository of a model folder: `speech` for a recogniser, `pixel` for a fused model, else its own name.

    Raises:
        ModelFolderError: the folder is damaged, or has no such file.
    """
    if (folder.path / FILES["float32"][0]).is_file():
        JoinedModel(place, "speech").publish(Pair.find(folder.path, "float32"), JoinerOptions())
        return place
    spec = folder.open(folder.onnx.name)
    if spec.task == FUSION:
        publish_fused(ModelRepository(place, "pixel"), folder, FusedOptions())
    else:
        ModelRepository(place, spec.name).publish(folder, folder.onnx.name, TritonOptions())
    return place


def show(server: TritonServer, console: Console) -> None:
    """Say what is served, and how to call it."""
    for model in server.models():
        state = f"{model.get('state', 'not loaded')} {model.get('reason', '')}".rstrip()
        console.print(f"{model['name']} {model.get('version', '')}: {state}", markup=False, soft_wrap=True)
    names = sorted({model["name"] for model in server.models()})
    name = next((name for name in names if find_joined(server.repository, name)), names[0])
    lines = (
        "",
        f"gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}. Ctrl-C ends it. Try:",
        "",
        f"  {call_of(server, name)}",
        f"  curl -i {server.http_url}/v2/health/ready",
        f"  curl {server.http_url}/v2/models/{name}/config",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def call_of(server: TritonServer, name: str) -> str:
    """How a model is called, by what it does."""
    if find_joined(server.repository, name):
        return f'TritonSpeechRecognizer("{server.grpc_url}", "{name}")  # in pixel_mm.inference.triton_speech'
    if read_config(server.repository / name / CONFIG).model_transaction_policy.decoupled:
        turn = """-d '{"text": "I am fine.", "max_tokens": 40}'"""
        return f"curl -N {server.http_url}/v2/models/{name}/generate_stream {turn}"
    return f"python -m pixel_mm.inference.audio_emotion_recognition grpc://{server.grpc_url}/{name} FILES"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C.

    Returns:
        0 after Ctrl-C, the server's code if it ended by itself, `USER_ERROR` if it could not start.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, nargs="?", help="Triton repository or model folder (default: see above)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where exports are looked for")
    parser.add_argument(
        "--ports", type=int, nargs=3, default=(8000, 8001, 8002), metavar="PORT", help="of HTTP, gRPC and metrics"
    )
    given = parser.parse_args(arguments)
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as place:
            export = given.export or find_export(given.runs)
            is_folder = (export / SPEC).is_file()
            repository = make_repository(ModelFolder(export), Path(place, "repository")) if is_folder else export
            if not (names := models(repository)):
                raise ServingError(
                    f"{export} is neither a Triton repository (MODEL/{CONFIG}) nor a model folder ({SPEC})"
                )
            console.print(f"Serving {export}", markup=False, highlight=False, soft_wrap=True, style="bold")
            with TritonServer(repository, names, ports=tuple(given.ports)) as server:
                show(server, console)
                return server.wait()
    except (ServingError, ValueError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        return USER_ERROR
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
