"""manifest.json of a model in a Triton repository: where each version came from, which are served, what was done.

What is served stands in config.pbtxt, which the server reads, and which versions there are, in the model's folder. The
manifest repeats both for people and tools, and is brought in line with them whenever it is read.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pixel_mm.runs import write_json

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
Action = Literal["publish", "promote", "roll_back", "prune"]


class RepositoryError(ValueError):
    """A Triton repository that is none, or a change of it that cannot be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json says.

    Attributes:
        name: of the model.
        versions: about each version, by number: when and of what it was made, SHA-256 of its files, what was measured.
        served: numbers that the server offers, ascending.
        history: what was done, oldest first: `action`, `time`, `versions` that it was about, `served` from then on.
    """

    name: str
    versions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    served: tuple[int, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def next_version(self) -> int:
        """A number that no version has or had."""
        used = {number for entry in self.history for number in entry["versions"]}
        return max(used | set(self.versions), default=0) + 1

    def with_version(self, number: int, about: Mapping[str, Any]) -> "Manifest":
        """With one version more."""
        return replace(self, versions={**self.versions, number: about})

    def without(self, gone: Collection[int]) -> "Manifest":
        """Without some versions."""
        rest = {number: about for number, about in self.versions.items() if number not in gone}
        return replace(self, versions=rest)

    def after(self, action: Action, versions: Sequence[int], served: Sequence[int]) -> "Manifest":
        """With something more done."""
        entry = {"action": action, "time": now(), "versions": sorted(versions), "served": sorted(served)}
        return replace(self, served=tuple(sorted(served)), history=(*self.history, entry))

    def promoted(self, versions: Sequence[int]) -> "Manifest":
        """With these versions served, and no others.

        Raises:
            RepositoryError: one is not there.
        """
        if unknown := sorted(set(versions) - set(self.versions)):
            known = ", ".join(str(number) for number in sorted(self.versions))
            raise RepositoryError(f"'{self.name}' has no version {unknown[0]}; it has {known}")
        return self.after("promote", sorted(set(versions)), sorted(set(versions)))

    def rolled_back(self) -> "Manifest":
        """With what was served before.

        Raises:
            RepositoryError: nothing else was, or it is gone.
        """
        if (before := self.before()) is None:
            raise RepositoryError(f"'{self.name}' has nothing to roll back to; promote a version instead")
        return self.after("roll_back", before, before)

    def in_line_with(self, there: set[int], served: Sequence[int]) -> "Manifest":
        """Without the versions that are gone, and with what is served: what a killed command did not come to write."""
        manifest = self.without(set(self.versions) - there)
        if manifest.served == tuple(served):
            return manifest
        added = sorted(set(served) - set(self.served))
        return manifest.after("promote", added, served)

    def before(self) -> tuple[int, ...] | None:
        """What a roll-back serves: what was served before the present versions were, as far as it is still there.

        A roll-back takes back the latest change that was not taken back yet, so that two of them go back twice.
        """
        served: list[tuple[int, ...]] = []
        for entry in self.history:
            now_served = tuple(entry["served"])
            if entry["action"] == "roll_back":
                while served and served[-1] != now_served:
                    served.pop()
            if not served or served[-1] != now_served:
                served.append(now_served)
        earlier = [versions for versions in served[:-1] if versions and set(versions) <= set(self.versions)]
        return earlier[-1] if earlier else None

    def write(self, folder: Path) -> None:
        """Write into a model's folder, whole or not at all."""
        versions = {str(number): about for number, about in sorted(self.versions.items())}
        content = {"format": FORMAT_VERSION, "name": self.name, "versions": versions}
        write_json(folder / MANIFEST, {**content, "served": list(self.served), "history": list(self.history)})

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read from a model's folder.

        Raises:
            RepositoryError: none there, or none that can be read.
        """
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT_VERSION:
                raise RepositoryError(f"{path} has format {content['format']}; this version reads {FORMAT_VERSION}")
            versions = {int(number): dict(about) for number, about in content["versions"].items()}
            history = tuple({**entry, "served": list(entry["served"])} for entry in content["history"])
            if not all("versions" in entry and "action" in entry for entry in history):
                raise KeyError("versions")
            return cls(str(content["name"]), versions, tuple(int(number) for number in content["served"]), history)
        except FileNotFoundError:
            raise RepositoryError(
                f"{folder} has no {MANIFEST}: it was not made by python -m pixel_mm.export target=triton, "
                "and is left as it is; choose another name"
            ) from None
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RepositoryError(f"{path} is no readable manifest ({error!r}); restore it from a copy") from None


def now() -> str:
    """This moment, in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
