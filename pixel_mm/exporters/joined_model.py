"""A recogniser in a Triton repository: three models whose versions of one number belong together.

    python -m pixel_mm.export target=triton_recognizer model_folder=DIR repository=REPOSITORY name=speech

REPOSITORY/speech           joins the other two, and is what clients ask
REPOSITORY/speech_encoder   waveform to keys and values
REPOSITORY/speech_decoder   tokens to scores

A version comes in as a whole or not at all, and so it goes. The joining model's configuration decides: whatever happens
in between, the encoder and decoder of each version that it serves are there and served, since they are offered first
and taken back last.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.joined_version import Pair
from pixel_mm.exporters.joiner_config import (
    JOINER_FILE,
    JoinerOptions,
    build_joiner_config,
    build_part_config,
    check_joiner_options,
)
from pixel_mm.exporters.manifest import MANIFEST, Manifest, RepositoryError
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.staging import locked, staged
from pixel_mm.exporters.triton import BACKENDS, CONFIG, serve_versions
from pixel_mm.exporters.triton_checks import check_file
from pixel_mm.inference.triton_joiner.parts import Parts
from pixel_mm.model_folder import ModelFolder

ROLES = ("encoder", "decoder")


class JoinedModel:
    """A recogniser of a repository, with the interface of `ModelRepository`.

    Args:
        repository: folder of the models; it may be new or empty.
        name: of the model that clients ask; it may be new.

    Raises:
        RepositoryError: the path is no Triton repository, or the name is none for a model.
    """

    def __init__(self, repository: Path, name: str) -> None:
        """Check the place; nothing is written."""
        self.joiner = ModelRepository(repository, name)
        self.parts = tuple(ModelRepository(repository, f"{name}_{role}") for role in ROLES)
        self.repository, self.name, self.path = repository, name, self.joiner.path

    def manifest(self) -> Manifest:
        """What there is and what is served, of the joining model.

        Raises:
            RepositoryError: the model is not there, or not one of this project's.
        """
        return self.joiner.manifest()

    def publish(self, pair: Pair, options: JoinerOptions, promote: bool = True) -> int:
        """Add a version of all three.

        Args:
            pair: encoder and decoder.
            options: how they are served from now on.
            promote: whether the new version is served from now on, in place of the others.

        Returns:
            Number of the version, the same for all three.

        Raises:
            ModelFolderError: the folder is damaged.
            TritonConfigError: the options cannot be.
            RepositoryError: versions that are there have other inputs or outputs, or promote is false and nothing else
                would be served.
        """
        check_joiner_options(options, BACKENDS[pair.served_as])
        if not promote and not self.path.exists():
            raise RepositoryError(f"model '{self.name}' is new, and its first version is served; leave out promote")
        self.repository.mkdir(parents=True, exist_ok=True)
        with locked(self.repository), staged(self.repository) as aside, ExitStack() as undo:
            manifests = [self._manifest(model) for model in (*self.parts, self.joiner)]
            number = max(manifest.next_version for manifest in manifests)
            steps = self._prepare(pair, options, number, aside)
            served = [number] if promote else list(manifests[-1].served)
            for model, manifest, (version, config, about) in zip(
                (*self.parts, self.joiner), manifests, steps, strict=True
            ):
                offered = served if model is self.joiner else sorted({*manifest.served, *served})
                serve_versions(config, offered)
                undo.callback(_restorer(model, number, aside))
                model.place(manifest.with_version(number, about), version, config, {})
            undo.pop_all()
            self._settle(served)
        return number

    def promote(self, versions: Sequence[int]) -> None:
        """Serve these versions, side by side, and no others.

        Raises:
            RepositoryError: one is not there.
        """
        with locked(self.repository):
            self._serve(self.manifest().promoted(versions))

    def roll_back(self) -> tuple[int, ...]:
        """Serve what was served before; gives the versions.

        Raises:
            RepositoryError: nothing else was served before, or it is gone.
        """
        with locked(self.repository):
            manifest = self.manifest().rolled_back()
            self._serve(manifest)
        return manifest.served

    def prune(self, keep: int) -> list[int]:
        """Remove the oldest versions that are not served, but for the newest `keep` of these; gives what is gone.

        Raises:
            RepositoryError: `keep` is negative.
        """
        gone = self.joiner.prune(keep)
        with locked(self.repository):
            self._settle(self.manifest().served)
        return gone

    def verify(self) -> None:
        """Whether what belongs together is there and is served together; the models alone verify themselves.

        Raises:
            RepositoryError: a version's encoder or decoder is not there, is not served, or is of another export.
        """
        manifest = self.manifest()
        for number in manifest.versions:
            try:
                Parts.read(self.path / str(number)).check(self.repository)
            except ValueError as error:
                raise RepositoryError(f"version {number} of '{self.name}': {error}") from None
        for part in self.parts:
            if absent := set(manifest.served) - set(part.manifest().served):
                raise RepositoryError(
                    f"'{self.name}' serves {min(absent)} and '{part.name}' does not; promote it again: "
                    f"python -m pixel_mm.repository promote {self.repository} {self.name} {min(absent)}"
                )

    def _prepare(
        self, pair: Pair, options: JoinerOptions, number: int, aside: Path
    ) -> list[tuple[ModelFolder, ModelConfig, dict]]:
        """Folder, configuration and the manifest's words of encoder, decoder and joiner; nothing is in place yet."""
        made = []
        for place, part in enumerate(self.parts):
            version = pair.make_part(place, aside / ROLES[place] / str(number))
            config = build_part_config(part.name, pair.served_as, version.open(), options)
            if part.path.exists():
                part.require_same_tensors(config, {})
            check_file(config, version.path / pair.served_as)
            about = pair.describe(version, pair.served_as, pair.files[place], {"part_of": self.name})
            made.append((version, config, about))
        named = [(part.name, version) for part, (version, _, _) in zip(self.parts, made, strict=True)]
        joiner = pair.make_joiner(aside / "joiner" / str(number), *named)
        config = build_joiner_config(self.name, pair.spec(), options)
        if self.path.exists():
            self.joiner.require_same_tensors(config, {})
        together = {"parts": {part.name: number for part in self.parts}}
        about = pair.describe(joiner, JOINER_FILE, " + ".join(pair.files), together)
        return [*made, (joiner, config, about)]

    def _manifest(self, model: ModelRepository) -> Manifest:
        return model.manifest() if model.path.exists() else Manifest(model.name)

    def _serve(self, manifest: Manifest) -> None:
        """Offer the parts, serve, take back the parts that are not needed any more."""
        for part in self.parts:
            there = part.manifest()
            part.serve(replace(there, served=tuple(sorted({*there.served, *manifest.served}))))
        self.joiner.serve(manifest)
        self._settle(manifest.served)

    def _settle(self, served: Sequence[int]) -> None:
        """Bring encoder and decoder in line with what joins them: what they serve, and which versions they have."""
        versions = self.manifest().versions
        for part in self.parts:
            manifest = part.manifest()
            if manifest.served != tuple(served):
                part.serve(manifest.after("promote", served, served))
            part.remove(sorted(set(manifest.versions) - set(versions)))


def find_joined(repository: Path, name: str) -> JoinedModel | None:
    """The recogniser of that name, or None where the model is another one, or one of a recogniser's parts."""
    return JoinedModel(repository, name) if "parts" in _about(repository, name) else None


def open_model(repository: Path, name: str) -> ModelRepository | JoinedModel:
    """A model of a repository, for commands.

    Raises:
        RepositoryError: it is no repository, or the model is a part of another one, which decides for it.
    """
    if (whole := _about(repository, name).get("part_of")) is not None:
        raise RepositoryError(f"'{name}' is a part of '{whole}', and their versions go together; name that one")
    return find_joined(repository, name) or ModelRepository(repository, name)


def _about(repository: Path, name: str) -> Mapping[str, Any]:
    """What the manifest tells of a model's newest version; nothing of one that has none."""
    model = ModelRepository(repository, name)
    if not (model.path / MANIFEST).is_file():
        return {}
    versions = Manifest.read(model.path).versions
    return versions[max(versions)] if versions else {}


def write_configured(cfg: DictConfig) -> None:
    """Add a version as configured: `model_folder`, `precision`, `repository`, `name`, `triton`, `promote`.

    Raises:
        ValueError: see `JoinedModel.publish`.
    """
    model = JoinedModel(Path(cfg.repository), cfg.name)
    options: JoinerOptions = instantiate(cfg.triton, _convert_="all")
    version = model.publish(Pair.find(Path(cfg.model_folder), cfg.precision), options, cfg.promote)
    served = ", ".join(str(number) for number in model.manifest().served)
    print(f"{model.path}, {', '.join(part.name for part in model.parts)}: version {version} added, served: {served}")
    print("The server's Python needs: python3 -m pip install 'numpy<2' tokenizers")
    print(f"To try it: python -m pixel_mm.serve {model.repository}")


def _restorer(model: ModelRepository, number: int, aside: Path) -> Callable[[], None]:
    """What makes a model again what it is now, without the version of that number."""
    if not model.path.exists():
        return lambda: shutil.rmtree(model.path, ignore_errors=True)
    kept = {name: (model.path / name).read_bytes() for name in (CONFIG, MANIFEST)}

    def restore() -> None:
        for name, content in kept.items():
            (model.path / name).write_bytes(content)
        version = model.path / str(number)
        if version.exists():
            version.rename(aside / f"{model.name}-{number}")

    return restore
