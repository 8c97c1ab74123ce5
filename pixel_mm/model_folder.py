"""What a model folder holds: exporters write it, inference reads it, and neither needs torch for that.

model.onnx     graph for onnxruntime and for Triton's onnxruntime backend
model.pt       the same model as TorchScript
model.yaml     `ModelSpec`: what goes in, what comes out, in which unit, learnt from what; the other files' SHA-256
parity.json    the measured differences between each format and the network it came from
README.md      model card, made from the two files above

A recogniser's has encoder.onnx, decoder.onnx and tokenizer.json, or model.onnx and vocabulary.json (CTC), and, where
somebody fitted it, confidence.yaml (`pixel_mm.inference.confidence.ConfidenceMap`). A fused model's has
adapter.safetensors.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from pixel_mm.pretrained import sha256_of

FORMAT_VERSION = 1
DTYPES = ("float32", "float16", "bfloat16", "int64", "int32")


class ModelFolderError(ValueError):
    """A model folder that is missing, incomplete or changed; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name: what the tensor is called in every format.
        dtype: one of `DTYPES`.
        axes: one entry per axis, a name where the size is free ("batch", "samples"), else the size.
        unit: of the values, e.g. "score", "probability", "samples".
        range: smallest and largest value.
        meaning: one sentence, both ends of the range included.
        labels: names along the last axis, whose size is their number; empty for none.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]
    unit: str
    range: tuple[float, float]
    meaning: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no graph can have."""
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor '{self.name}': dtype '{self.dtype}' is not one of {', '.join(DTYPES)}")
        if len(self.range) != 2 or not self.range[0] <= self.range[1]:
            raise ValueError(f"tensor '{self.name}': range {list(self.range)} is not [smallest, largest]")
        if self.labels and self.axes[-1:] != (len(self.labels),):
            raise ValueError(f"tensor '{self.name}': {len(self.labels)} labels for the axes {list(self.axes)}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model was made from.

    Attributes:
        label_source: "rated" when people rated the dimensions it learnt, "mapped" when they come from categories,
            "transcripts" when it learnt to write down what is said, "constructed" when words and voices were put
            together.
        corpus: name of the training corpus.
        synthetic: True when the corpus was made by a speech synthesiser.
        commit: git commit of the training run, or "unknown".
        run: name of the run folder.
        encoder: what the network hears with.
    """

    label_source: Literal["rated", "mapped", "transcripts", "constructed"]
    corpus: str
    synthetic: bool
    commit: str
    run: str
    encoder: str

    def __post_init__(self) -> None:
        """Refuse another kind of labels."""
        if self.label_source not in (known := ("rated", "mapped", "transcripts", "constructed")):
            raise ValueError(f"label_source is '{self.label_source}'; it is one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything a caller must know to use the graphs of a model folder.

    Attributes:
        name: of the model.
        task: e.g. "audio_emotion_recognition".
        sample_rate_hz: rate of the waveform the graph takes.
        min_seconds: shortest clip it scores.
        max_seconds: longest clip it scores; longer audio is windowed by the caller.
        inputs: in the graph's order.
        outputs: in the graph's order; callers go by name.
        provenance: what it was made from.
        alignment_heads: (layer, head) of a decoder that follow the speech, by which words get their times.
        languages: ISO 639-1 codes of what it writes down, of a recogniser whose tokenizer doesn't tell them.
        fusion: of a fused model: what `pixel_mm.fusion_spec.FusionSpec` reads.
        files: SHA-256 of each other file of the folder, by file name.
        format: version of this description.
    """

    name: str
    task: str
    sample_rate_hz: int
    min_seconds: float
    max_seconds: float
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provenance: Provenance
    alignment_heads: tuple[tuple[int, int], ...] = ()
    languages: tuple[str, ...] = ()
    fusion: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT_VERSION

    def output(self, name: str) -> TensorSpec:
        """The output of that name.

        Raises:
            KeyError: there is none.
        """
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(f"no output '{name}'; there are {', '.join(tensor.name for tensor in self.outputs)}")

    def write(self, path: str | Path) -> None:
        """Write as YAML.

        Raises:
            OSError: the file cannot be written.
        """
        text = yaml.safe_dump(self.as_dict(), sort_keys=False, width=120, allow_unicode=True)
        Path(path).write_text(text, encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """The same as lists and dictionaries, which YAML and JSON take; see `parse`."""
        content: dict[str, Any] = _plain(asdict(self))
        return content

    @classmethod
    def read(cls, path: str | Path) -> "ModelSpec":
        """Read what `write` wrote.

        Raises:
            ModelFolderError: the file is absent, no YAML, or a field is missing, unknown or impossible.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelFolderError(
                f"{path} is missing; export the model again with python -m pixel_mm.export"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelFolderError(f"{path} is no readable YAML: {error}") from None
        try:
            return cls.parse(content)
        except ValueError as error:
            raise ModelFolderError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, content: object) -> "ModelSpec":
        """Make one of what `as_dict` gave.

        Raises:
            ModelFolderError: a field is missing, unknown or impossible; the message names it.
        """
        try:
            values = checked_fields(cls, content)
            if values.get("format", FORMAT_VERSION) != FORMAT_VERSION:
                raise ValueError(f"format {values['format']}; this version of pixel_mm reads {FORMAT_VERSION}")
            for side in ("inputs", "outputs"):
                values[side] = tuple(_tensor(tensor) for tensor in values[side])
            values["alignment_heads"] = tuple((layer, head) for layer, head in values.get("alignment_heads", ()))
            values["languages"] = tuple(values.get("languages", ()))
            values["provenance"] = Provenance(**checked_fields(Provenance, values["provenance"]))
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ModelFolderError(str(error)) from None


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """Where a model folder keeps what.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def onnx(self) -> Path:
        """The ONNX graph."""
        return self.path / "model.onnx"

    @property
    def torchscript(self) -> Path:
        """The TorchScript model."""
        return self.path / "model.pt"

    @property
    def spec(self) -> Path:
        """The description, see `ModelSpec`."""
        return self.path / "model.yaml"

    @property
    def parity(self) -> Path:
        """The measured differences."""
        return self.path / "parity.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    def seal(self, spec: ModelSpec) -> ModelSpec:
        """Write model.yaml with the SHA-256 of every other file in the folder, and return what was written."""
        others = sorted(file for file in self.path.iterdir() if file.is_file() and file != self.spec)
        sealed = replace(spec, files={file.name: sha256_of(file) for file in others})
        sealed.write(self.spec)
        return sealed

    def open(self, *names: str) -> ModelSpec:
        """Read model.yaml and verify files of the folder.

        Args:
            names: the files that are about to be used, e.g. "model.onnx"; none means all.

        Raises:
            ModelFolderError: a file is missing, not listed in model.yaml, or not the one that was exported.
        """
        if not self.path.is_dir():
            raise ModelFolderError(f"{self.path} is no folder; give what python -m pixel_mm.export wrote")
        spec = ModelSpec.read(self.spec)
        beside = [f"{name}.data" for name in names if f"{name}.data" in spec.files]  # weights of a graph over 2 GB
        for name in (*names, *beside) or tuple(spec.files):
            if name not in spec.files:
                raise ModelFolderError(f"{self.spec} lists no file '{name}'; export the model again")
            file = self.path / name
            if not file.is_file():
                raise ModelFolderError(f"{file} is missing; export the model again")
            if sha256_of(file) != spec.files[name]:
                raise ModelFolderError(
                    f"{file} is not the file that was exported (its SHA-256 differs from model.yaml); export again"
                )
        return spec


def _plain(value: Any) -> Any:
    """The same value of lists and dictionaries, which is all that a safe YAML dumper writes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


_SCALARS: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}


def checked_fields(cls: type, content: object) -> dict[str, Any]:
    """A mapping that has the fields of the dataclass `cls`, scalars of the right type.

    Raises:
        ValueError: it is none; names the field.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{cls.__name__} should be a mapping, found {type(content).__name__}")
    known = {item.name: item for item in fields(cls)}
    if unknown := [str(key) for key in content if key not in known]:
        raise ValueError(f"unknown field '{unknown[0]}' in {cls.__name__}; it has {', '.join(known)}")
    for name, item in known.items():
        if name not in content:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"field '{name}' of {cls.__name__} is missing")
        elif item.type in _SCALARS and not isinstance(content[name], _SCALARS[item.type]):
            raise ValueError(f"field '{name}' of {cls.__name__} is {content[name]!r}, which is of the wrong type")
    return dict(content)


def _tensor(content: object) -> TensorSpec:
    values = checked_fields(TensorSpec, content)
    for key in ("axes", "range", "labels"):
        if key in values:
            values[key] = tuple(values[key])
    return TensorSpec(**values)
