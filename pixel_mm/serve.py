"""A Triton server on this machine with the newest export, to try it.

    make serve
    python -m pixel_mm.serve [REPOSITORY]

Without REPOSITORY it takes the newest Triton repository below `runs`; where there is none, it exports the newest run;
where there is none of these either, it trains a toy in a minute, whose scores mean nothing. The server is the real one,
from wheels, listens on loopback only and ends with Ctrl-C. It is for trying: docs/serving.md says what it lacks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pixel_mm.quickstart import QuickstartError, run_command
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer

USER_ERROR = 2
_TOY = (
    "experiment=quickstart",
    "encoder=whisper_micro_random",
    "data.corpus.clips=40",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
)


def find_repository(runs: Path) -> Path | None:
    """The newest Triton repository below a folder, by when its models were changed last."""
    configs = [path for path in runs.glob("**/config.pbtxt") if any(path.parent.glob("[0-9]*/"))]
    return max(configs, key=lambda path: path.parent.stat().st_mtime).parent.parent if configs else None


def find_run(runs: Path) -> Path | None:
    """The newest run below a folder that has a checkpoint."""
    found = [path.parent.parent for path in runs.glob("**/checkpoints/last.ckpt")]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def make_repository(runs: Path, console: Console) -> Path:
    """A Triton repository of the newest run, or of a toy.

    Raises:
        QuickstartError: a command failed; its own message is on the terminal already.
    """
    repository = runs / "served" / "repository"
    run = find_run(runs)
    if run is None:
        run = runs / "served" / "train"
        console.print("Nothing has been trained yet: this trains a toy, whose scores mean nothing.", style="bold")
        run_command(["-m", "pixel_mm.train", *_TOY, f"paths.run={run}"], console)
    export = ["-m", "pixel_mm.export", f"run={run}", "target=triton", f"repository={repository}", "name=emotion"]
    run_command(export, console)
    return repository


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
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where exports and runs are looked for")
    parser.add_argument(
        "--ports", type=int, nargs=3, default=(8000, 8001, 8002), metavar="PORT", help="of HTTP, gRPC and metrics"
    )
    given = parser.parse_args(arguments)
    console = Console()
    try:
        repository = given.repository or find_repository(given.runs) or make_repository(given.runs, console)
        models = served_models(repository)
        console.print(f"Serving {repository}", markup=False, highlight=False, soft_wrap=True, style="bold")
        with TritonServer(repository, models, ports=tuple(given.ports)) as server:
            show(server, console)
            return server.wait()
    except QuickstartError as error:
        Console(stderr=True).print(f"serve: {error}", markup=False, soft_wrap=True)
        return error.code
    except ServingError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        return USER_ERROR
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
