"""What a run trained: the network as it was at the end, and what it was made from."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from pixel_mm.data.corpora.synthetic import SyntheticCorpus
from pixel_mm.model_folder import Provenance
from pixel_mm.models.adaptation import merge_adapters
from pixel_mm.models.checkpoint import load_trained, read_architecture, read_fingerprint
from pixel_mm.runs import RunFolder
from pixel_mm.whisper_tokens import TokenizerError


def load_network(folder: RunFolder, which: str = "best") -> Any:
    """The trained network of a run, on the CPU, in float32 and evaluation mode, adapters merged into the weights.

    Args:
        folder: of the run.
        which: "best" or "last" checkpoint.

    Returns:
        A `DescribedNetwork` of the run's task.

    Raises:
        RunError: no run folder, or no checkpoint in it.
        CheckpointError: the checkpoint does not fit the run's configuration.
    """
    checkpoint = folder.find_checkpoint("last" if which == "last" else "best")
    config = folder.load_config()
    architecture = read_architecture(checkpoint)
    found_in_data = {key: architecture[key] for key in ("emotion_labels", "characters") if key in architecture}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # frozen weights that were random are made again, and verified by their SHA-256
        network = instantiate(config.model, **found_in_data)
        adapted = instantiate(config.adaptation)(network)
    network = network if adapted is None else adapted
    load_trained(network, checkpoint)
    merge_adapters(network)
    return network.requires_grad_(False).eval()


def find_tokenizer(folder: RunFolder, which: str = "best") -> Path:
    """The tokenizer.json of a run's recogniser: the run's own, or the published one of a run that needed none.

    Args:
        folder: of the run.
        which: "best" or "last" checkpoint.

    Raises:
        RunError: no run folder, or no checkpoint in it.
        TokenizerError: the run's own is not the one that its weights were trained with.
        PretrainedError: the published one is not to be had.
    """
    trained_with = read_fingerprint(folder.find_checkpoint("last" if which == "last" else "best"), "writing_sha256")
    if trained_with is None:
        path: Path = instantiate(folder.load_config().recognizer.tokenizer).path()
        return path
    if not folder.tokenizer.is_file() or sha256(folder.tokenizer.read_bytes()).hexdigest() != trained_with:
        raise TokenizerError(
            f"{folder.tokenizer} is missing or does not belong to the weights, which were trained with another; "
            "copy the run folder again"
        )
    return folder.tokenizer


def describe_origin(folder: RunFolder) -> Provenance:
    """What a run's model was made from, as its config.yaml and environment.json tell.

    Raises:
        RunError: the folder has no config.yaml.
    """
    config = folder.load_config()
    reader = get_class(config.data.corpus._target_)
    title = str(getattr(reader, "title", reader.__name__))
    # Readers of anybody's collection say little by their title; these say which.
    collection = config.data.get("dataset") or (Path(config.data.root).name if title == "manifest" else None)
    recognizer = config.get("recognizer")
    return Provenance(
        label_source="transcripts" if recognizer else config.data.label_source,
        corpus=f"{title} {collection}" if collection else title,
        synthetic=issubclass(reader, SyntheticCorpus),
        commit=_commit(folder),
        run=folder.path.resolve().name,
        encoder=_encoder(recognizer.network.encoder if recognizer else config.encoder),
    )


def _commit(folder: RunFolder) -> str:
    if not folder.environment.is_file():
        return "unknown"
    commit = json.loads(folder.environment.read_text(encoding="utf-8")).get("commit") or {}
    return f"{commit.get('hash') or 'unknown'}{'-dirty' if commit.get('dirty') else ''}"


def _encoder(encoder: DictConfig) -> str:
    name = encoder._target_.rpartition(".")[2]
    if not encoder.get("pretrained_weights", True):
        return f"{name} from random weights"
    weights = encoder.weights
    return f"{name} {weights.get('folder') if weights.get('source') == 'folder' else weights.get('hub')}"
