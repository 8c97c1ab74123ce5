"""What the README and the guides tell people to type exists: modules, make targets, options, links."""

import importlib.util
import re
import shlex
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from pixel_mm.cli import CONFIG_DIR

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMPOSED = ("pixel_mm.train", "pixel_mm.evaluate", "pixel_mm.export")
# What stands for something of the reader's own.
PLACEHOLDERS = {"OPTION=VALUE", "..."}


def code(text: str) -> Iterator[str]:
    """Lines of code blocks (fenced or indented), continued ones joined, and code within lines."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^(?: {4,}\S.*\n)+", outside, re.MULTILINE)
    for block in blocks:
        yield from (line.strip() for line in block.splitlines())
    yield from (found.strip() for found in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", outside))


def commands(text: str) -> list[list[str]]:
    """`python -m ...` and `make ...` commands in Markdown, as words, without comments."""
    found = []
    for line in code(text):
        if re.match(r"(\S*python -m|make) \S", line):
            found.append(shlex.split(line.replace("\n", " "), comments=True))
    return found


COMMANDS = [
    pytest.param(words, id=f"{path.name}: {shlex.join(words)}"[:110])
    for path in DOCUMENTS
    for words in commands(path.read_text(encoding="utf-8"))
]


def check(words: list[str]) -> None:
    """Refuse a command that could not be run.

    Raises:
        AssertionError: a module or target that does not exist.
        HydraException: options that do not compose.
    """
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"make has no {set(words[1:]) - set(targets)}"
        return
    module, options = words[2], words[3:]
    if not module.startswith(("pixel_mm", "benchmarks")):
        return
    if module == "benchmarks.TOPIC":
        return
    assert importlib.util.find_spec(module) is not None, f"there is no module {module}"
    if module in COMPOSED:
        overrides = [word for word in options if "=" in word and word not in PLACEHOLDERS]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            swept = [re.sub(r"^([a-z._]+)=([^,\[\](){}]+),.*", r"\1=\2", override) for override in overrides]
            cfg = compose(module.rpartition(".")[2], swept, return_hydra_config="-m" in options[:1])
        OmegaConf.to_container(cfg, resolve=False)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_documented_command_exists_and_its_options_compose(words: list[str]) -> None:
    check(words)


def test_the_commands_are_found() -> None:
    readme = [" ".join(words[:4]) for words in commands((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert "make quickstart" in readme
    assert "python -m pixel_mm.train experiment=emotion" in readme
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(
    "line", ["make nothing", "python -m pixel_mm.nothing", "python -m pixel_mm.train data=nothing", "make test nothing"]
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, HydraException)):
        check(commands(f"```sh\n{line}\n```\n")[0])


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if urllib.parse.urlparse(link).scheme:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        assert target.exists(), f"{path.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{path.name} links to {link}"


def test_every_guide_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    guides = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in guides if f"({name})" not in index} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
