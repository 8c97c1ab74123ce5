"""What training speed is compared with: stock Whisper encoder under a regressor's head, for `transformers.Trainer`."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor

from benchmarks.stock_whisper import StockWhisperRegressor
from pixel_mm.data.batching import Batch, WaveformBatch
from pixel_mm.models.emotion.network import EmotionRegressor


class StockTrainee(nn.Module):
    """Stock encoder under a regressor's head, as `transformers.Trainer` trains it. Weights are copies."""

    def __init__(self, network: EmotionRegressor, losses: Callable[..., Any]) -> None:
        """Copy the parts.

        Args:
            network: regressor on a whole Whisper encoder.
            losses: of scores and logits.
        """
        super().__init__()
        self.encoder = StockWhisperRegressor(network).encoder
        self.head = copy.deepcopy(network)
        del self.head.encoder
        self.losses = losses

    def forward(
        self, input_features: Tensor, num_frames: Tensor, ratings: Tensor, emotion: Tensor
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            input_features: float32 [B, mels, 3000], 30 s of log-mel.
            num_frames: int64 [B], of the encoder's 1500 that are the clip's own.
            ratings: float32 [B, 3].
            emotion: int64 [B].
        """
        states = self.encoder(input_features, output_hidden_states=True).hidden_states
        output = self.head.read([states[number] for number in self.head.state_numbers], num_frames)
        return {"loss": self.losses(output.scores, output.emotion_logits, ratings, emotion).total}


def stock_examples(batches: Iterable[Batch], mels: int) -> list[dict[str, Tensor]]:
    """What the stock feature extractor makes of clips: one example each, padded to 30 s."""
    extractor = WhisperFeatureExtractor(feature_size=mels)
    examples = []
    for batch in batches:
        assert isinstance(batch, WaveformBatch)
        for row, length in enumerate(batch.num_samples.tolist()):
            waveform = batch.waveform[row, :length].numpy()
            features = extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_features[0]
            labels = {"ratings": batch.ratings[row], "emotion": batch.emotion[row]}
            examples.append({"input_features": features, "num_frames": torch.tensor(max(length // 320, 1)), **labels})
    return examples
