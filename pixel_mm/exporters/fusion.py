"""A fused model as a folder: what listens, as graphs that take raw waveforms, and the trained adapter and heads.

    python -m pixel_mm.export target=fusion run=RUN_DIR output=DIR

The language model is not in it: model.yaml says which one it must be, by the SHA-256 of its published weights.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
from omegaconf import DictConfig, OmegaConf

from pixel_mm.chat import tokenizer_sha256
from pixel_mm.exporters.fusion_card import fusion_card
from pixel_mm.exporters.fusion_graph import ListeningGraph
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.fusion_spec import ADAPTER, ENCODER_KEY, BackboneSpec, FusionSpec, HeardEncoder
from pixel_mm.model_folder import ModelFolder, ModelFolderError, Provenance
from pixel_mm.models.fusion.adapter_file import save_adapter
from pixel_mm.models.fusion.network import FusionNetwork


def describe_backbone(backbone: DictConfig, sha256: str) -> BackboneSpec:
    """What model.yaml says of a configured language model.

    Args:
        backbone: a choice of conf/backbone.
        sha256: of its published weights.
    """
    settings = OmegaConf.to_container(backbone, resolve=True)
    assert isinstance(settings, dict)
    arguments = {str(name): value for name, value in settings.items() if name != "_target_"}
    source = arguments.get("source", "random")
    folder = Path(arguments["folder"]).name if source == "folder" else None
    random = f"random {arguments['config']['model_type']}" if source == "random" else None
    return BackboneSpec(str(random or folder or arguments["hub"]), source, sha256, arguments)


def publish_fusion(
    network: FusionNetwork,
    backbone: BackboneSpec,
    origin: Provenance,
    output: Path,
    formats: Mapping[str, Format],
    system: str | None,
    seed: int = 7,
    metrics: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> ModelFolder:
    """Export what listens in every format, compare each file with the network, and put the model folder in place.

    Args:
        network: trained, on the CPU.
        backbone: of the network.
        origin: what it was made from; its run names the model.
        output: folder to make.
        formats: what to write, by name.
        system: what the language model was told of its part in training.
        seed: of the inputs that parity is checked on.
        metrics: of the training run, for the model card.
        overwrite: replace a folder that is there.

    Raises:
        ModelFolderError: the network hears nothing, there is something at `output` already, or no format.
        ParityError: a file is not the network it came from; nothing was published.
    """
    if network.adapter is None:
        raise ModelFolderError(
            "the run trained on words alone (model=fusion_text_only): there is nothing in it that listens, and its "
            "answers are the bare language model's; export a run of model=fusion or model=fusion_soft_tokens"
        )
    if backbone.sha256 != network.backbone.sha256:
        raise ModelFolderError(f"the network is on backbone {network.backbone.sha256}, described is {backbone.sha256}")
    fusion = _describe(network, backbone, system)
    graph = ListeningGraph(network.requires_grad_(False).eval())

    def add(folder: Path) -> None:
        save_adapter(network, folder / ADAPTER)
        for file in folder.glob("*.onnx"):
            _sign(file, fusion)

    spec = graph.spec(origin.run, origin, fusion)
    return publish(graph, spec, output, formats, seed, metrics or {}, overwrite, card=fusion_card, add=add)


def _describe(network: FusionNetwork, backbone: BackboneSpec, system: str | None) -> FusionSpec:
    adapter, tokenizer = network.adapter, network.backbone.tokenizer
    assert adapter is not None
    identities = network.encoder_identities()
    encoders = {
        name: HeardEncoder(
            str(identities[name]["weights"]), source.hidden_size, source.frame_rate_hz, dict(source.architecture)
        )
        for name, source in network.sources().items()
    }
    return FusionSpec(
        backbone=backbone,
        encoders=encoders,
        adapter="soft_tokens" if adapter.soft_tokens else "cross_attention",
        layers=network.layers,
        scores=(*network.state_scores, *network.answer_scores),
        sizes={
            "adapter": adapter.arguments,
            "resampler": adapter.resampler.arguments,
            "head_width": network.heads.width,
            "reads_top": network.heads.top is not None,
        },
        reads_text=network.reads_text,
        system=system,
        chat_template=str(tokenizer.chat_template),
        tokenizer_sha256=tokenizer_sha256(tokenizer),
    )


def _sign(file: Path, fusion: FusionSpec) -> None:
    """Write the encoders' fingerprints into a graph, so that one is known wherever it lies."""
    model = onnx.load(str(file), load_external_data=False)
    for name, encoder in fusion.encoders.items():
        model.metadata_props.add(key=f"{ENCODER_KEY}{name}", value=encoder.sha256)
    onnx.save(model, str(file))
