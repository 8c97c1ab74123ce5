"""The folders of one version of a recogniser in a Triton repository: encoder, decoder, and what joins them.

ENCODER/VERSION/  model.onnx, model.yaml, parity.json; DECODER/VERSION/ the same
JOINER/VERSION/   model.py, decoding.zip (the code that decodes), tokenizer.json, parts.json (which two belong to it),
                  model.yaml, parity.json
"""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

import pixel_mm
from pixel_mm.exporters.joiner_config import JOINER_FILE
from pixel_mm.exporters.manifest import RepositoryError, now
from pixel_mm.exporters.recognition_tensorrt import ENGINES
from pixel_mm.exporters.triton import SERVED_AS
from pixel_mm.exporters.version_folder import copy_served_file
from pixel_mm.inference.triton_joiner.parts import Part, Parts
from pixel_mm.inference.whisper_onnx import FILES, TASK, TOKENIZER, Precision
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, TensorSpec

CODE = "decoding.zip"
CODE_FILES = (
    "__init__.py",
    "whisper_tokens.py",
    "models/__init__.py",
    "models/speech_recognition/__init__.py",
    "models/speech_recognition/beams.py",
    "models/speech_recognition/decoding.py",
    "models/speech_recognition/token_rules.py",
    "inference/__init__.py",
    "inference/triton_joiner/__init__.py",
    "inference/triton_joiner/joiner.py",
    "inference/triton_joiner/parts.py",
    "inference/triton_joiner/request_inputs.py",
    "inference/triton_joiner/served_decoder.py",
)
"""What decodes, below `pixel_mm/`: it needs numpy and `tokenizers`, and nothing of the package beside itself."""
_MEANINGS = {
    "waveform": ("amplitude", "mono speech at 16 kHz"),
    "num_samples": ("samples", "length of each clip"),
    "num_frames": ("frames", "length of each clip in frames"),
    "tokens": ("token", "tokens that are new"),
    "logits": ("log-odds", "score of each token as the next one"),
    "attention": ("share", "where each head looked"),
    "speech": ("1", "key or value of what was heard"),
    "past": ("1", "key or value of the tokens before"),
    "present": ("1", "key or value of all tokens"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Encoder and decoder of a model folder in one precision.

    Attributes:
        folder: that `target=recognizer` wrote.
        precision: that parity.json knows them by.
        files: of the folder, encoder and decoder.
        graphs: the ONNX files that say what they take and give.
    """

    folder: ModelFolder
    precision: Precision
    files: tuple[str, str]
    graphs: tuple[str, str]

    @classmethod
    def find(cls, path: Path, precision: str) -> "Pair":
        """A pair of a model folder, verified.

        Args:
            path: the folder.
            precision: "float32", "float16", "int8", or "tensorrt" for the engines that were built of float16.

        Raises:
            ModelFolderError: the folder is of another task or damaged, or lacks the pair.
            RepositoryError: the pair was not compared with the network.
        """
        known: Precision = "float16" if precision == "tensorrt" else precision  # type: ignore[assignment]
        if known not in FILES:
            raise ModelFolderError(f"precision is '{precision}'; it is one of {', '.join(FILES)}, tensorrt")
        folder, graphs = ModelFolder(path), FILES[known]
        files = ENGINES if precision == "tensorrt" else graphs
        if (task := ModelSpec.read(folder.spec).task) != TASK:
            raise ModelFolderError(f"model_folder={path} does {task}; give one that target=recognizer wrote")
        folder.open(*files, *graphs, TOKENIZER)
        if known not in json.loads(folder.parity.read_text(encoding="utf-8"))["precisions"]:
            raise RepositoryError(f"{folder.parity} has no comparison of {precision}; export the model again")
        return cls(folder, known, files, graphs)

    @property
    def served_as(self) -> str:
        """What both are called in a repository."""
        return SERVED_AS[Path(self.files[0]).suffix]

    def spec(self) -> ModelSpec:
        """Of the recogniser."""
        return ModelSpec.read(self.folder.spec)

    def make_part(self, place: int, target: Path) -> ModelFolder:
        """The folder of the encoder's (0) or the decoder's (1) version."""
        target.mkdir(parents=True)
        version = ModelFolder(target)
        copy_served_file(self.folder, self.files[place], target / self.served_as)
        shutil.copyfile(self.folder.parity, version.parity)
        version.seal(_part_spec(self.spec(), self.folder.path / self.graphs[place], ("encoder", "decoder")[place]))
        return version

    def make_joiner(
        self, target: Path, encoder: tuple[str, ModelFolder], decoder: tuple[str, ModelFolder]
    ) -> ModelFolder:
        """The folder of the joining model's version.

        Args:
            target: to make.
            encoder: name of the model, and its version's folder.
            decoder: the same.
        """
        target.mkdir(parents=True)
        version, spec = ModelFolder(target), self.spec()
        shutil.copyfile(
            Path(pixel_mm.__file__).parent / "inference" / "triton_joiner" / JOINER_FILE, target / JOINER_FILE
        )
        _write_code(target / CODE)
        shutil.copyfile(self.folder.path / TOKENIZER, target / TOKENIZER)
        shutil.copyfile(self.folder.parity, version.parity)
        inputs = decoder[1].open().inputs
        past = [tensor for tensor in inputs if tensor.name.startswith("past_")]
        _, num_heads, _, head_width = past[0].axes
        num_tokens = decoder[1].open().output("logits").axes[-1]
        parts = (_part(*encoder, self.served_as), _part(*decoder, self.served_as))
        Parts(*parts, len(past) // 2, int(num_heads), int(head_width), int(num_tokens)).write(target)
        waveform = TensorSpec("waveform", "float32", ("samples",), "amplitude", (-1.0, 1.0), "mono speech at 16 kHz")
        version.seal(replace(spec, inputs=(waveform,), outputs=(), files={}))
        return version

    def describe(self, version: ModelFolder, file: str, exported_as: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest tells of a version.

        Args:
            version: its folder.
            file: that the server loads.
            exported_as: of which file of the model folder it was made.
            more: which versions it belongs to.
        """
        report = json.loads(self.folder.parity.read_text(encoding="utf-8"))["precisions"][self.precision]
        spec = version.open()
        return {
            "created": now(),
            "commit": spec.provenance.commit,
            "run": spec.provenance.run,
            "file": file,
            "exported_as": exported_as,
            "sha256": dict(spec.files),
            "metrics": {},
            "tolerances": {"largest_difference": report["tolerance"]},
            "largest_difference": report["largest_difference"],
            **more,
        }


def _part(model: str, version: ModelFolder, served_as: str) -> Part:
    files = {name: digest for name, digest in version.open().files.items() if name.startswith(served_as)}
    return Part(model, int(version.path.name), files)


def _part_spec(spec: ModelSpec, graph: Path, role: str) -> ModelSpec:
    """What a graph takes and gives, as it says itself."""
    found = onnx.load(str(graph), load_external_data=False).graph
    inputs, outputs = (tuple(_tensor(value) for value in values) for values in (found.input, found.output))
    return replace(spec, task=f"{TASK}_{role}", inputs=inputs, outputs=outputs, alignment_heads=(), files={})


def _tensor(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    axes = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    unit, meaning = _MEANINGS[value.name if value.name in _MEANINGS else value.name.partition("_")[0]]
    return TensorSpec(value.name, dtype, axes, unit, (-float("inf"), float("inf")), meaning)


def _write_code(path: Path) -> None:
    """The same bytes each time."""
    package = Path(pixel_mm.__file__).parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in CODE_FILES:
            archive.writestr(zipfile.ZipInfo(f"{package.name}/{name}"), (package / name).read_bytes())
