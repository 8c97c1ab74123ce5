"""The versions of the models in a Triton repository: list them, choose which are served, go back, clear up.

    python -m pixel_mm.repository list REPOSITORY
    python -m pixel_mm.repository promote REPOSITORY MODEL VERSION [VERSION ...]
    python -m pixel_mm.repository roll-back REPOSITORY MODEL
    python -m pixel_mm.repository prune REPOSITORY MODEL --keep 3
    python -m pixel_mm.repository verify REPOSITORY

python -m pixel_mm.export target=triton adds versions. A running server takes a change when it is told to load the model
again. The three models of a recogniser go together, by the name of the one that joins them. docs/triton.md says more.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pixel_mm.cli import USER_ERROR, explain
from pixel_mm.exporters.joined_model import JoinedModel, find_joined, open_model
from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.exporters.repository import ModelRepository, models


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or `USER_ERROR` after a mistake that the user can correct.
    """
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except Exception as error:
        if (message := explain(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return USER_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, about in (
        ("list", _list, "what there is, what is served, what was done last"),
        ("promote", _promote, "serve these versions side by side, and no others"),
        ("roll-back", _roll_back, "serve what was served before"),
        ("prune", _prune, "remove old versions that are not served"),
        ("verify", _verify, "compare all files with what was published, and check the configurations"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        command.add_argument("repository", type=Path, help="Triton repository")
        if run not in (_list, _verify):
            command.add_argument("model")
        if run is _promote:
            command.add_argument("versions", type=int, nargs="+", metavar="VERSION")
        if run is _prune:
            command.add_argument("--keep", type=int, default=3, help="newest of those not served to keep (default: 3)")
    return parser


def _list(given: argparse.Namespace) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for name in _models(given.repository):
        manifest = ModelRepository(given.repository, name).manifest()
        table = Table("version", "served", "created", "run", "commit", "exported as", "metrics", title=name)
        for number, about in sorted(manifest.versions.items()):
            served = "yes" if number in manifest.served else ""
            commit = str(about["commit"])[:12]
            table.add_row(
                str(number), served, about["created"], about["run"], commit, about["exported_as"], _metrics(about)
            )
        console.print(table)
        if manifest.history:
            last = manifest.history[-1]
            console.print(f"last change: {last['action']} {last['versions']}, {last['time']}", markup=False)


def _metrics(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in about["metrics"].items() if not name.startswith("num_"))


def _promote(given: argparse.Namespace) -> None:
    model = open_model(given.repository, given.model)
    model.promote(given.versions)
    _say_served(model)


def _roll_back(given: argparse.Namespace) -> None:
    model = open_model(given.repository, given.model)
    model.roll_back()
    _say_served(model)


def _say_served(model: ModelRepository | JoinedModel) -> None:
    served = " and ".join(str(number) for number in model.manifest().served)
    print(f"{model.name} serves {served}. A running server takes it with:")
    parts = model.parts if isinstance(model, JoinedModel) else ()
    for name in (*(part.name for part in parts), model.name):
        print(f"  curl -X POST HOST:8000/v2/repository/models/{name}/load")


def _prune(given: argparse.Namespace) -> None:
    gone = open_model(given.repository, given.model).prune(given.keep)
    print(f"removed: {', '.join(str(number) for number in gone) or 'nothing'}")


def _verify(given: argparse.Namespace) -> None:
    for name in _models(given.repository):
        ModelRepository(given.repository, name).verify()
        if joined := find_joined(given.repository, name):
            joined.verify()
        print(f"{name}: all files are those that were published, the configuration is right")


def _models(repository: Path) -> list[str]:
    if not (names := models(repository)):
        raise RepositoryError(f"{repository} is no Triton repository: it has no MODEL/config.pbtxt")
    return names


if __name__ == "__main__":
    sys.exit(main())
