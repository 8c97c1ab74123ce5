"""Models in a Triton repository: versions are added whole and never changed; one small file says which are served.

REPOSITORY/MODEL/config.pbtxt      how the model is served, and which of its versions
REPOSITORY/MODEL/manifest.json     where each version came from, what was done when
REPOSITORY/MODEL/*.labels.txt      names of an output's values
REPOSITORY/MODEL/warmup/           what a loaded model runs before it is ready
REPOSITORY/MODEL/VERSION/          the file, model.yaml, parity.json

A version is built aside, flushed and renamed into place; then the configuration is replaced, by a rename too. So at any
moment a server that looks finds the old state or the new one.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.length_buckets import length_buckets
from pixel_mm.exporters.manifest import MANIFEST, Manifest, RepositoryError
from pixel_mm.exporters.staging import locked, move_new, staged
from pixel_mm.exporters.triton import (
    BACKENDS,
    CONFIG,
    SERVED_AS,
    TritonOptions,
    build_config,
    config_text,
    describe_model,
    read_config,
    serve_versions,
    served_versions,
    shared_files,
)
from pixel_mm.exporters.triton_checks import check_config, check_file, check_options
from pixel_mm.exporters.version_folder import copy_version, describe_version, training_lengths
from pixel_mm.model_folder import ModelFolder, ModelSpec
from pixel_mm.runs import atomic_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ModelRepository:
    """One model of a Triton repository.

    Args:
        repository: folder of the models; it may be new or empty.
        name: of the model; it may be new.

    Raises:
        RepositoryError: the path is no Triton repository, or the name is none for a model.
    """

    def __init__(self, repository: Path, name: str) -> None:
        """Check the place; nothing is written."""
        check_repository(repository)
        if not _NAME.fullmatch(name):
            raise RepositoryError(f"name is '{name}'; use letters, digits, '_', '-' and '.', a letter or digit first")
        self.repository, self.name, self.path = repository, name, repository / name

    def manifest(self) -> Manifest:
        """What there is and what is served.

        Raises:
            RepositoryError: the model is not there, or not one of this project's.
            ValueError: its configuration cannot be read.
        """
        self._require_there()
        there = _version_numbers(self.path)
        served = served_versions(read_config(self.path / CONFIG), there)
        return Manifest.read(self.path).in_line_with(there, served)

    def publish(self, folder: ModelFolder, file: str, options: TritonOptions, promote: bool = True) -> int:
        """Add a version.

        Args:
            folder: that the export wrote.
            file: of the folder that shall be served, e.g. "model.onnx".
            options: how the model is served from now on.
            promote: whether the new version is served from now on, in place of the others.

        Returns:
            Number of the version.

        Raises:
            ModelFolderError: the folder lacks the file, or it is not the one that was exported.
            TritonConfigError: the options cannot be, or the file is not what they are for.
            RepositoryError: the model's other versions have other inputs or outputs; or promote is false and nothing
                else would be served, or the policy does not ask.
        """
        spec = folder.open(file)
        served_as = SERVED_AS[Path(file).suffix]
        check_options(options, BACKENDS[served_as])
        self._check_promotion(options, promote)
        self.repository.mkdir(parents=True, exist_ok=True)
        with locked(self.repository), staged(self.repository) as aside:
            manifest = self.manifest() if self.path.exists() else Manifest(self.name)
            number = manifest.next_version
            version = copy_version(folder, file, aside / str(number), served_as)
            buckets = length_buckets(training_lengths(folder), options.length_buckets)
            config = build_config(self.name, served_as, version.open(), options, buckets)
            if options.version_policy == "specific":
                serve_versions(config, [number] if promote else manifest.served)
            check_file(config, version.path / served_as)
            manifest = manifest.with_version(number, describe_version(folder, file, version, served_as))
            self.place(manifest, version, config, shared_files(spec, buckets))
        return number

    def place(self, manifest: Manifest, version: ModelFolder, config: ModelConfig, shared: Mapping[str, bytes]) -> None:
        """Put a version in its place, the last step of publishing; the caller holds the repository's lock.

        Args:
            manifest: that has the version already.
            version: built aside, in a folder whose name is its number.
            config: of the model from now on.
            shared: files that it names; see `shared_files`.

        Raises:
            RepositoryError: the model's other versions have other inputs or outputs.
        """
        if self.path.exists():
            self._add(manifest, version, config, shared)
        else:
            self._begin(manifest, version, config, shared)

    def promote(self, versions: Sequence[int]) -> None:
        """Serve these versions, side by side, and no others.

        Raises:
            RepositoryError: one is not there.
        """

        self._require_there()
        with locked(self.repository):
            self.serve(self.manifest().promoted(versions))

    def roll_back(self) -> tuple[int, ...]:
        """Serve what was served before; gives the versions.

        Raises:
            RepositoryError: nothing else was served before, or it is gone.
        """

        self._require_there()
        with locked(self.repository):
            manifest = self.manifest().rolled_back()
            self.serve(manifest)
        return manifest.served

    def prune(self, keep: int) -> list[int]:
        """Remove the oldest versions that are not served, but for the newest `keep` of these; gives what is gone.

        Raises:
            RepositoryError: `keep` is negative.
        """
        if keep < 0:
            raise RepositoryError(f"keep is {keep}; give 0 or more versions to keep beside those that are served")
        self._require_there()
        with locked(self.repository):
            manifest = self.manifest()
            idle = sorted(set(manifest.versions) - set(manifest.served))
            gone = idle[: len(idle) - keep] if keep else idle
            self.remove(gone)
        return gone

    def remove(self, gone: Sequence[int]) -> None:
        """Remove versions that are not served; the caller holds the repository's lock."""
        if not gone:
            return
        manifest = self.manifest()
        with staged(self.repository) as aside:
            for number in gone:
                (self.path / str(number)).rename(aside / str(number))
            manifest.without(gone).after("prune", gone, manifest.served).write(self.path)

    def verify(self) -> None:
        """Compare every file with what was published, and check the configuration as it is now.

        Raises:
            RepositoryError: a file is missing or another one.
            TritonConfigError: the configuration is not right.
            ModelFolderError: a version is damaged.
        """
        manifest = self.manifest()
        config = read_config(self.path / CONFIG)
        check_config(config, self.path, manifest.versions)
        for number, about in manifest.versions.items():
            version = ModelFolder(self.path / str(number))
            if version.open().files != about["sha256"]:
                raise RepositoryError(f"{version.spec} is not the one that {MANIFEST} tells of; publish it again")
            if number in manifest.served:
                check_file(config, version.path / about["file"])

    def _check_promotion(self, options: TritonOptions, promote: bool) -> None:
        if promote:
            return
        if options.version_policy != "specific":
            raise RepositoryError(
                f"promote=false does nothing with triton.version_policy={options.version_policy}, "
                "which serves a version once it is there; use triton.version_policy=specific"
            )
        if not self.path.exists():
            raise RepositoryError(f"model '{self.name}' is new, and its first version is served; leave out promote")

    def _require_there(self) -> None:
        if not self.path.is_dir():
            known = ", ".join(models(self.repository)) or "none"
            raise RepositoryError(f"{self.repository} has no model '{self.name}'; it has {known}")

    def serve(self, manifest: Manifest) -> None:
        """Serve what a manifest says; the caller holds the repository's lock."""
        config = read_config(self.path / CONFIG)
        serve_versions(config, manifest.served)
        newest = ModelSpec.read(self.path / str(manifest.served[-1]) / "model.yaml")
        describe_model(config, newest)
        check_config(config, self.path, manifest.versions)
        _write(self.path / CONFIG, config_text(config).encode())
        manifest.write(self.path)

    def _begin(
        self, manifest: Manifest, version: ModelFolder, config: ModelConfig, shared: Mapping[str, bytes]
    ) -> None:
        """A new model, in one rename."""
        number = int(version.path.name)
        model = version.path.parent / self.name
        model.mkdir()
        version.path.rename(model / version.path.name)
        for name, content in shared.items():
            _write(model / name, content)
        check_config(config, model, [number])
        _write(model / CONFIG, config_text(config).encode())
        manifest.after("publish", [number], [number]).write(model)
        move_new(model, self.path)

    def _add(self, manifest: Manifest, version: ModelFolder, config: ModelConfig, shared: Mapping[str, bytes]) -> None:
        """A version more: what nothing points to yet, then the version, then what points to it."""
        self.require_same_tensors(config, shared)
        for name, content in shared.items():
            if not (self.path / name).is_file():  # its name tells its content
                _write(self.path / name, content)
        check_config(config, self.path, manifest.versions)
        manifest.write(self.path)
        move_new(version.path, self.path / version.path.name)
        _write(self.path / CONFIG, config_text(config).encode())
        served = served_versions(config, manifest.versions)
        manifest.after("publish", [int(version.path.name)], served).write(self.path)

    def require_same_tensors(self, config: ModelConfig, shared: Mapping[str, bytes]) -> None:
        """All versions of a model that is there share one configuration.

        Raises:
            RepositoryError: this one is not of that kind.
        """
        old = read_config(self.path / CONFIG)
        names = [output.label_filename for output in old.output if output.label_filename]
        labels_fit = all((self.path / name).read_bytes() == shared.get(name) for name in names)
        tensors_fit = list(old.input) == list(config.input) and list(old.output) == list(config.output)
        if not (labels_fit and tensors_fit and old.backend == config.backend):
            raise RepositoryError(
                f"the versions of '{self.name}' have other inputs, outputs, labels or another backend than this one, "
                "and all versions of a model share one configuration; publish it under another name"
            )


def check_repository(path: Path) -> None:
    """Refuse a folder in which models would lie among other things; one that is new or empty may become a repository.

    Raises:
        RepositoryError: it is a file, or holds something else than models.
    """
    if path.exists() and not path.is_dir():
        raise RepositoryError(f"repository={path} is a file; give a folder")
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if not entry.name.startswith(".") and not (entry / CONFIG).is_file():
            raise RepositoryError(
                f"repository={path} is no Triton repository: {entry.name} in it is no model (it has no {CONFIG}); "
                "give a repository, or a new folder"
            )


def models(repository: Path) -> list[str]:
    """Names of the models that a repository has, by other means made ones too."""
    return sorted(path.parent.name for path in repository.glob(f"[!.]*/{CONFIG}"))


def _version_numbers(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit() and path.is_dir()}


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as aside:
        aside.write_bytes(content)
