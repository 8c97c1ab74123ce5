"""The rules of the house: which room may import which. Held by reading the imports, not by running them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pixel_mm

PACKAGE = Path(pixel_mm.__file__).parent

# A room's prefix, and what nothing in it may import.
FORBIDDEN = {
    "pixel_mm.data": ("pixel_mm.models",),
    "pixel_mm.models": ("pixel_mm.data", "pixel_mm.exporters", "pixel_mm.inference"),
    "pixel_mm.inference": ("pytorch_lightning", "lightning", "hydra"),
}
GROUND_FLOOR = (
    "audio", "model_folder", "pretrained", "runs", "metrics", "reports", "environment", "precision", "whisper_tokens",
    "chat", "ctc_vocabulary", "fusion_spec",
)  # fmt: skip
COMMANDS = ("train", "evaluate", "export", "serve", "repository", "training", "evaluation")
UPPER_FLOORS = ("data", "models", "exporters", "inference", "cli", *COMMANDS)
# The vocabulary of labels is plain constants and a dataclass, which pictures and tables of labels speak too.
VOCABULARY = ("pixel_mm.data.emotions", "pixel_mm.data.utterance")
for _room in GROUND_FLOOR:
    FORBIDDEN[f"pixel_mm.{_room}"] = tuple(f"pixel_mm.{upper}" for upper in UPPER_FLOORS)
# The server that tests and people try exports on knows nothing of them, nor of how they were made.
FORBIDDEN["pixel_mm.serving"] = (*(f"pixel_mm.{upper}" for upper in UPPER_FLOORS), "pytorch_lightning", "hydra")
for _room in ("data", "models", "exporters", "inference"):
    FORBIDDEN[f"pixel_mm.{_room}"] = (
        *FORBIDDEN.get(f"pixel_mm.{_room}", ()),
        *(f"pixel_mm.{command}" for command in COMMANDS),
    )
ALLOWED = {"pixel_mm.models": VOCABULARY, **{f"pixel_mm.{room}": VOCABULARY for room in GROUND_FLOOR}}


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, everywhere: bool = True) -> Iterator[str]:
    """Dotted names that a module imports: all but those for type checkers, or those that being imported itself does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (name for child in node.orelse for name in imports(ast.Module([child], []), everywhere))
        elif everywhere or not (isinstance(node, ast.FunctionDef) or is_script_block(node)):
            yield from imports(node, everywhere)


def is_script_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def violations(modules: dict[str, str]) -> list[str]:
    """Forbidden imports in sources by module name."""
    found = []
    for name, source in modules.items():
        for imported in imports(ast.parse(source)):
            for room, forbidden in FORBIDDEN.items():
                allowed = any(within(imported, module) for module in ALLOWED.get(room, ()))
                if within(name, room) and not allowed and any(within(imported, bad) for bad in forbidden):
                    found.append(f"{name} imports {imported}")
    return found


def cycles(modules: dict[str, str]) -> list[list[str]]:
    """Groups of modules whose top-level imports lead back to themselves, by depth-first search."""
    graph = {
        name: {m for i in imports(ast.parse(source), everywhere=False) if (m := longest(i, modules)) and m != name}
        for name, source in modules.items()
    }
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def longest(imported: str, modules: dict[str, str]) -> str | None:
    """The module that `imported` (a module, or a name in one) is of."""
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported or None


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {module_name(path, PACKAGE): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def test_no_room_imports_what_it_must_not(sources: dict[str, str]) -> None:
    assert violations(sources) == []


def test_nothing_imports_in_a_circle(sources: dict[str, str]) -> None:
    assert cycles(sources) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("pixel_mm.data.x", "from pixel_mm.models.pooling import AttentiveStatistics"),
        ("pixel_mm.data.x", "def f():\n    import pixel_mm.models"),
        ("pixel_mm.models.x", "from pixel_mm.data import splits"),
        ("pixel_mm.models.x", "from pixel_mm import exporters"),
        ("pixel_mm.inference.x", "if True:\n    import pytorch_lightning as pl"),
        ("pixel_mm.inference.x", "from hydra.utils import instantiate"),
        ("pixel_mm.runs", "from pixel_mm.train import fit"),
        ("pixel_mm.metrics.x", "import pixel_mm.data.corpora.emodb"),
        ("pixel_mm.exporters.x", "import pixel_mm.train"),
        ("pixel_mm.exporters.x", "from pixel_mm.repository import main"),
        ("pixel_mm.serving.x", "from pixel_mm.exporters.triton import build_config"),
    ],
)
def test_a_broken_rule_is_seen(name: str, source: str) -> None:
    assert violations({name: source}) != []


def test_a_circle_is_seen() -> None:
    circle = {"a": "import b", "b": "from c import d", "c": "import a", "d": "import a"}
    assert cycles(circle) == [["a", "b", "c", "a"]]
    assert cycles({"a": "def f():\n    import b", "b": "import a"}) == []


def test_inference_runs_without_lightning_and_hydra() -> None:
    modules = [module_name(path, PACKAGE) for path in sorted((PACKAGE / "inference").glob("*.py"))]
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"pytorch_lightning", "lightning", "hydra"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
