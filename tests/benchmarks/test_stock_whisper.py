import numpy as np
import pytest
import torch

from benchmarks.stock_whisper import StockWhisperRegressor
from pixel_mm.audio import normalise_level
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.encoders.whisper import WhisperEncoder


def regressor(last_layer: int | None = None) -> EmotionRegressor:
    torch.manual_seed(0)
    encoder = WhisperEncoder(2, 32, 2, 64, pretrained_weights=False, last_layer=last_layer)
    network = EmotionRegressor(encoder, ("anger", "calm"), projection_size=16, attention_size=8)
    torch.nn.init.normal_(network.score_head.weight)
    return network.eval()


def test_where_nothing_is_padded_the_stock_twin_gives_the_same_scores() -> None:
    """A whole 30 s clip: so the comparison is of two ways through the same network."""
    network = regressor()
    waveform = normalise_level(np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32))
    stock = StockWhisperRegressor(network)(waveform)
    with torch.no_grad():
        ours = network(torch.from_numpy(waveform)[None], torch.tensor([480_000]))
    for column, name in enumerate(network.dimensions):
        assert stock[name].item() == pytest.approx(ours.scores[0, column].item(), abs=1e-3)


def test_an_encoder_without_a_stock_twin_is_refused() -> None:
    with pytest.raises(ValueError, match="last_layer=null"):
        StockWhisperRegressor(regressor(last_layer=1))
