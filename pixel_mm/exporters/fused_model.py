"""A fused model in a Triton repository: answers on the Python backend, streamed.

    python -m pixel_mm.export target=triton_fusion model_folder=DIR repository=REPOSITORY name=pixel

A version is the whole model folder and model.py, which answers with it; see `pixel_mm.inference.triton_fusion`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate
from omegaconf import DictConfig
from tritonclient.grpc.model_config_pb2 import ModelConfig

import pixel_mm.inference.triton_fusion
from pixel_mm.exporters.manifest import Manifest, RepositoryError
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.staging import locked, staged
from pixel_mm.exporters.triton import JOINER_BACKEND, describe_model, serve_versions
from pixel_mm.exporters.triton_checks import TritonConfigError
from pixel_mm.exporters.version_folder import describe_version
from pixel_mm.fusion_spec import TASK
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec

SERVED_FILE = "model.py"


@dataclass(frozen=True, slots=True)
class FusedOptions:
    """How a fused model is served.

    Attributes:
        instances: copies of model and language model; each answers one turn at a time.
        instance_kind: "auto" leaves it to the server: a GPU where there is one.
        gpus: numbers of the GPUs that instances are put on; none leaves it to the server.
        max_tokens: of an answer, whatever a request asks for.
        python: interpreter that has pixel_mm and torch, as the server's machine finds it.
    """

    instances: int = 1
    instance_kind: Literal["auto", "cpu", "gpu"] = "auto"
    gpus: tuple[int, ...] = ()
    max_tokens: int = 512
    python: str = "python3"

    def check(self) -> None:
        """Refuse options that cannot be, or that would change nothing.

        Raises:
            TritonConfigError: names the option.
        """
        for name in ("instances", "max_tokens"):
            if (value := getattr(self, name)) < 1:
                raise TritonConfigError(f"triton.{name} is {value}; it must be at least 1")
        if self.instance_kind not in (kinds := ("auto", "cpu", "gpu")):
            raise TritonConfigError(f"triton.instance_kind is '{self.instance_kind}'; it is one of {', '.join(kinds)}")
        if self.gpus and self.instance_kind != "gpu":
            raise TritonConfigError("triton.gpus is for instances on a GPU; add triton.instance_kind=gpu")
        if not self.python:
            raise TritonConfigError("triton.python is empty; name an interpreter that has pixel_mm and torch")


def build_fused_config(name: str, spec: ModelSpec, options: FusedOptions) -> ModelConfig:
    """The configuration of a fused model; it serves no version yet.

    Args:
        name: of the model's folder.
        spec: of the model.
        options: how it is served.
    """
    config = ModelConfig(name=name, backend=JOINER_BACKEND, default_model_filename=SERVED_FILE)
    config.model_transaction_policy.decoupled = True
    for tensor, data_type, dims in (
        ("text", "TYPE_STRING", [1]),
        ("waveform", "TYPE_FP32", [-1]),
        ("sample_rate_hz", "TYPE_INT32", [1]),
        ("max_tokens", "TYPE_INT32", [1]),
        ("temperature", "TYPE_FP32", [1]),
        ("top_p", "TYPE_FP32", [1]),
        ("seed", "TYPE_INT64", [1]),
    ):
        config.input.add(name=tensor, data_type=data_type, dims=dims, optional=True)
    for tensor, data_type in (("text", "TYPE_STRING"), ("scores", "TYPE_STRING"), ("final", "TYPE_BOOL")):
        config.output.add(name=tensor, data_type=data_type, dims=[1])
    config.version_policy.specific.SetInParent()
    kind = f"KIND_{options.instance_kind.upper()}"
    config.instance_group.add(kind=kind, count=options.instances, gpus=options.gpus)
    describe_model(config, spec)
    config.parameters["max_tokens"].string_value = str(options.max_tokens)
    config.parameters["python"].string_value = options.python
    return config


def publish_fused(repository: ModelRepository, folder: ModelFolder, options: FusedOptions, promote: bool = True) -> int:
    """Add a version of a fused model.

    Args:
        repository: of the model.
        folder: what `python -m pixel_mm.export target=fusion` wrote.
        options: how the model is served from now on.
        promote: whether the new version is served from now on, in place of the others.

    Returns:
        Number of the version.

    Raises:
        ModelFolderError: the folder is damaged, or of another task.
        TritonConfigError: the options cannot be.
        RepositoryError: the model's other versions are of another kind, or nothing would be served.
    """
    options.check()
    spec = folder.open()
    if spec.task != TASK:
        raise ModelFolderError(f"model_folder={folder.path} does {spec.task}, not {TASK}; see target=triton")
    if not promote and not repository.path.exists():
        raise RepositoryError(f"model '{repository.name}' is new, and its first version is served; leave out promote")
    repository.repository.mkdir(parents=True, exist_ok=True)
    with locked(repository.repository), staged(repository.repository) as aside:
        manifest = repository.manifest() if repository.path.exists() else Manifest(repository.name)
        number = manifest.next_version
        version = _copy(folder, spec, aside / str(number))
        config = build_fused_config(repository.name, spec, options)
        serve_versions(config, [number] if promote else manifest.served)
        about = describe_version(folder, folder.onnx.name, version, SERVED_FILE)
        repository.place(manifest.with_version(number, about), version, config, {})
    return number


def write_configured(cfg: DictConfig) -> None:
    """Add a version as configured: `model_folder`, `repository`, `name`, `promote`, `triton`.

    Raises:
        ValueError: see `publish_fused`.
    """
    repository = ModelRepository(Path(cfg.repository), cfg.name)
    options = instantiate(cfg.triton, _convert_="all")
    number = publish_fused(repository, ModelFolder(Path(cfg.model_folder)), options, cfg.promote)
    served = ", ".join(str(each) for each in repository.manifest().served)
    print(f"{repository.path}: version {number} added, served: {served}")
    print(f"To try it: python -m pixel_mm.serve {repository.repository}")


def _copy(folder: ModelFolder, spec: ModelSpec, target: Path) -> ModelFolder:
    """The folder and what answers with it, but for formats that nothing here runs."""
    target.mkdir()
    for name in spec.files:
        if name == folder.torchscript.name or (name.endswith((".onnx", ".plan")) and name != folder.onnx.name):
            continue
        shutil.copyfile(folder.path / name, target / name)
    shutil.copyfile(Path(pixel_mm.inference.triton_fusion.__file__).with_name(SERVED_FILE), target / SERVED_FILE)
    version = ModelFolder(target)
    version.seal(spec)
    return version
