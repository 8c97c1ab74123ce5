"""The emotion regressor as it is deployed: raw waveform in, one named output per score."""

from torch import Tensor, nn

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.exporters.clip_inputs import CLIP_INPUTS
from pixel_mm.model_folder import ModelSpec, Provenance, TensorSpec

PROBABILITIES = "emotion_probabilities"
TASK = "audio_emotion_recognition"

_MEANINGS = {
    "valence": "0 is negative, 1 is positive",
    "arousal": "0 is calm, 1 is excited",
    "dominance": "0 is submissive, 1 is dominant",
}


class EmotionGraph(nn.Module):
    """Gives each score of an `EmotionRegressor` an output of its own, and probabilities for its logits.

    Args:
        network: `EmotionRegressor`, or anything whose result has `scores` float32 [B, S] and `emotion_logits`
            float32 [B, C]. It is put into evaluation mode.
        dimensions: S names of scores, in the network's order.
        emotion_labels: C names of categories, in the network's order; none for a network without them.
    """

    def __init__(self, network: nn.Module, dimensions: tuple[str, ...], emotion_labels: tuple[str, ...]) -> None:
        """Wrap a network; its parameters are shared, not copied."""
        super().__init__()
        self.network = network
        self.dimensions = tuple(dimensions)
        self.emotion_labels = tuple(emotion_labels)
        self.eval()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of `forward`'s result."""
        return self.dimensions + ((PROBABILITIES,) if self.emotion_labels else ())

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, ...]:
        """Score a batch.

        Args:
            waveform: float32 [B, T], 16 kHz, in [-1, 1], any level; what lies beyond a clip's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s), at most T.

        Returns:
            float32 [B] in 0..1 for each of `dimensions`, then float32 [B, C] that sum to 1 along the last axis.
        """
        output = self.network(waveform, num_samples)
        scores = output.scores.unbind(dim=1)
        return (*scores, output.emotion_logits.softmax(dim=1)) if self.emotion_labels else tuple(scores)

    def spec(self, name: str, provenance: Provenance) -> ModelSpec:
        """Describe this graph; the folder's files are added when it is sealed."""
        scores = [
            TensorSpec(dimension, "float32", ("batch",), "score", (0.0, 1.0), _MEANINGS[dimension])
            for dimension in self.dimensions
        ]
        probabilities = TensorSpec(
            name=PROBABILITIES,
            dtype="float32",
            axes=("batch", len(self.emotion_labels)),
            unit="probability",
            range=(0.0, 1.0),
            meaning="how probable each category is among those the model knows; they sum to 1",
            labels=self.emotion_labels,
        )
        return ModelSpec(
            name=name,
            task=TASK,
            sample_rate_hz=SAMPLE_RATE_HZ,
            min_seconds=MIN_SECONDS,
            max_seconds=MAX_SECONDS,
            inputs=CLIP_INPUTS,
            outputs=(*scores, probabilities) if self.emotion_labels else tuple(scores),
            provenance=provenance,
        )
