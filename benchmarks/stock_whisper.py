"""What the emotion regressor's speed is compared with: Whisper as `transformers` runs it, 30 padded seconds always."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as StockEncoder

from pixel_mm.models.emotion.network import EmotionRegressor


class StockWhisperRegressor(nn.Module):
    """The stock feature extractor and encoder with a regressor's own weights, and that regressor's own head.

    Args:
        network: regressor on a Whisper encoder that uses all of its layers.

    Raises:
        ValueError: the encoder is none of Whisper's, or stops before the last layer.
    """

    def __init__(self, network: EmotionRegressor) -> None:
        """Copy the encoder's weights, share the head."""
        super().__init__()
        sizes = network.encoder.architecture
        if sizes.get("family") != "whisper" or sizes["layers"] != sizes["of_layers"]:
            raise ValueError(
                "only a regressor on a whole Whisper encoder has a stock twin; set encoder.last_layer=null"
            )
        config = WhisperConfig(
            d_model=sizes["hidden_size"],
            encoder_layers=sizes["layers"],
            encoder_attention_heads=sizes["heads"],
            encoder_ffn_dim=sizes["feed_forward_size"],
            num_mel_bins=sizes["mels"],
        )
        self.extractor = WhisperFeatureExtractor(feature_size=sizes["mels"])
        self.encoder = StockEncoder(config)
        self.encoder.load_state_dict(network.encoder.state_dict())
        self.head = network
        self.eval()

    @torch.inference_mode()
    def forward(self, waveform: np.ndarray) -> dict[str, Tensor]:
        """Score one clip.

        Args:
            waveform: float32 [T], 16 kHz.

        Returns:
            float32 [1] for each score, and `emotion_probabilities` float32 [1, C].
        """
        features = self.extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_features
        states = self.encoder(features, output_hidden_states=True).hidden_states
        num_frames = torch.tensor([waveform.size // 320])
        output = self.head.read([states[number] for number in self.head.state_numbers], num_frames)
        scores = dict(zip(self.head.dimensions, output.scores.unbind(1), strict=True))
        return {**scores, "emotion_probabilities": output.emotion_logits.softmax(1)}
