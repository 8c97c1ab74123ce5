"""Which encoder and decoder a joining model's version belongs to: `parts.json`, written by the export, read here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "parts.json"
_CHUNK_BYTES = 1 << 20


class PartsError(ValueError):
    """An encoder or decoder that is missing or of another export; the message says which."""


@dataclass(frozen=True)
class Part:
    """One model that is called.

    Attributes:
        model: its name in the repository.
        version: of it.
        sha256: of the version's files, by name.
    """

    model: str
    version: int
    sha256: Mapping[str, str]

    def check(self, repository: Path) -> None:
        """Compare the files in a repository with those that were exported.

        Raises:
            PartsError: one is missing, or another one.
        """
        for name, digest in self.sha256.items():
            file = repository / self.model / str(self.version) / name
            if not file.is_file():
                raise PartsError(f"{file} is missing, and what calls it works with no other; export the models again")
            if _sha256_of(file) != digest:
                raise PartsError(
                    f"{file} is of another export than what calls it (its SHA-256 differs); promote versions that "
                    "belong together, or export the models again"
                )


@dataclass(frozen=True)
class Parts:
    """Encoder and decoder of one export, and their shapes.

    Attributes:
        encoder: takes the waveform.
        decoder: takes tokens and its cache.
        num_layers: of the decoder.
        num_heads: of each layer.
        head_width: numbers of a head's key.
        num_tokens: size of the vocabulary.
    """

    encoder: Part
    decoder: Part
    num_layers: int
    num_heads: int
    head_width: int
    num_tokens: int

    def write(self, folder: Path) -> None:
        """Write `parts.json` into a version's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Parts":
        """Read what `write` wrote.

        Raises:
            PartsError: it is missing, or something else.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(Part(**content.pop("encoder")), Part(**content.pop("decoder")), **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PartsError(
                f"{path} does not say what belongs together ({error!r}); export the models again"
            ) from None

    def check(self, repository: Path) -> None:
        """Compare both with a repository; see `Part.check`."""
        self.encoder.check(repository)
        self.decoder.check(repository)


def cache_names(kind: str, num_layers: int) -> list[str]:
    """Names of a cache's tensors, layer by layer: "speech", "past" or "present"."""
    return [f"{kind}_{part}_{layer}" for layer in range(num_layers) for part in ("keys", "values")]


def _sha256_of(path: Path) -> str:
    """As `pixel_mm.pretrained.sha256_of`, for Python 3.10 too."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
