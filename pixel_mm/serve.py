"""A Triton server on this machine with a Triton repository, to try it.

    make serve
    python -m pixel_mm.serve [REPOSITORY]

Without REPOSITORY it takes the newest Triton repository below `runs`. The server is the real one, from wheels, listens
on loopback only and ends with Ctrl-C. It is for trying: docs/serving.md says what it lacks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer

USER_ERROR = 2


def find_repository(runs: Path) -> Path:
    """The newest Triton repository below a folder, by when its models were changed last.

    Raises:
        ServingError: there is none.
    """
    configs = [path for path in runs.glob("**/config.pbtxt") if any(path.parent.glob("[0-9]*/"))]
    if not configs:
        raise ServingError(f"no Triton repository below {runs}; give one: python -m pixel_mm.serve REPOSITORY")
    return max(configs, key=lambda path: path.parent.stat().st_mtime).parent.parent


def served_models(repository: Path) -> list[str]:
    """Names of the models of a repository.

    Raises:
        ServingError: there are none.
    """
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if not names:
        raise ServingError(f"{repository} is no Triton repository: it has no MODEL/config.pbtxt")
    return names


def show(server: TritonServer, console: Console) -> None:
    """Say what is served, and how to call it."""
    for model in server.models():
        state = f"{model.get('state', 'not loaded')} {model.get('reason', '')}".rstrip()
        console.print(f"{model['name']} {model.get('version', '')}: {state}", markup=False, soft_wrap=True)
    name = server.models()[0]["name"]
    lines = (
        "",
        f"gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}. Ctrl-C ends it. Try:",
        "",
        f"  python -m pixel_mm.inference.audio_emotion_recognition grpc://{server.grpc_url}/{name} FILES",
        f"  curl -i {server.http_url}/v2/health/ready",
        f"  curl {server.http_url}/v2/models/{name}/config",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C.

    Returns:
        0 after Ctrl-C, the server's code if it ended by itself, `USER_ERROR` if it could not start.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="?", help="Triton repository (default: see above)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where repositories are looked for")
    parser.add_argument(
        "--ports", type=int, nargs=3, default=(8000, 8001, 8002), metavar="PORT", help="of HTTP, gRPC and metrics"
    )
    given = parser.parse_args(arguments)
    console = Console()
    try:
        repository = given.repository or find_repository(given.runs)
        models = served_models(repository)
        console.print(f"Serving {repository}", markup=False, highlight=False, soft_wrap=True, style="bold")
        with TritonServer(repository, models, ports=tuple(given.ports)) as server:
            show(server, console)
            return server.wait()
    except ServingError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        return USER_ERROR
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
