"""Which heads of a recogniser's decoder follow the speech: what its configuration says, held against the network."""

from collections.abc import Sequence

from omegaconf import DictConfig

from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.network import WhisperRecognizer

Heads = tuple[tuple[int, int], ...]


def known_heads(recognizer: DictConfig) -> Heads:
    """What `conf/recognizer` says; runs from before it said so, and models that nobody looked at, say nothing."""
    return tuple((layer, head) for layer, head in recognizer.get("alignment_heads") or ())


def check_heads(network: WhisperRecognizer, heads: Sequence[tuple[int, int]]) -> Heads:
    """The same heads, if the decoder has them.

    Raises:
        ModelFolderError: it does not.
    """
    sizes = network.architecture["decoder"]
    for layer, head in heads:
        if not (0 <= layer < sizes["layers"] and 0 <= head < sizes["heads"]):
            raise ModelFolderError(
                f"recognizer.alignment_heads has [{layer}, {head}], but the decoder has {sizes['layers']} layers of "
                f"{sizes['heads']} heads, counted from 0; give [] where nobody knows which follow the speech"
            )
    return tuple((layer, head) for layer, head in heads)
