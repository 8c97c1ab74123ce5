"""A recogniser as two ONNX graphs: the encoder, which takes the raw waveform, and a step of the decoder with its cache.

B utterances, N new tokens, P tokens before them, F frames, L decoder layers, H heads, V tokens.
"""

from pathlib import Path

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ShapeInferencePass
from torch import Tensor, nn

from pixel_mm.exporters.graph_file import save_graph
from pixel_mm.exporters.onnx import OPSET_VERSION, quietly
from pixel_mm.exporters.portable import make_portable
from pixel_mm.inference.triton_joiner.parts import cache_names
from pixel_mm.models.speech_recognition.decoder import Cache
from pixel_mm.models.speech_recognition.network import WhisperRecognizer

_FREE = torch.export.Dim.DYNAMIC


class EncoderGraph(nn.Module):
    """Waveform to the keys and values that the decoder looks at."""

    def __init__(self, network: WhisperRecognizer) -> None:
        """Wrap a network; its parameters are shared."""
        super().__init__()
        self.network = network

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            waveform: float32 [B, T], 16 kHz.
            num_samples: int64 [B], 400 to 480 000, at most T.

        Returns:
            int64 [B], frames of each utterance; keys and values of each layer, float32 [B, H, F, 64].
        """
        frames, num_frames = self.network.hear(waveform, num_samples)
        return (num_frames, *(tensor for pair in self.network.decoder.hear(frames) for tensor in pair))


class DecoderGraph(nn.Module):
    """Some more tokens to the scores of what comes next."""

    def __init__(self, network: WhisperRecognizer) -> None:
        """Wrap a network; its parameters are shared."""
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, num_frames: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """One step.

        Args:
            tokens: int64 [B, N].
            num_frames: int64 [B].
            caches: what the encoder gave, then what the step before gave: float32 [B, H, P, 64], P may be 0.

        Returns:
            Scores float32 [B, N, V]; where each head looked, float32 [B, L, H, N, frames of the utterances' own]; keys
            and values of all tokens.
        """
        decoder = self.network.decoder
        pairs: Cache = tuple(zip(caches[::2], caches[1::2], strict=True))
        speech, past = pairs[: decoder.num_layers], pairs[decoder.num_layers :]
        attended = self.network.attended(num_frames, speech[0][0].shape[2])
        hidden, present, looks = decoder.watch(tokens, speech, attended, past)
        looks = looks[..., self.network.num_rest_frames :]
        return (decoder.logits(hidden), looks, *(tensor for pair in present for tensor in pair))


def write_graphs(network: WhisperRecognizer, encoder: Path, decoder: Path) -> None:
    """Write both graphs in float32, free in batch size and all lengths.

    Args:
        network: in evaluation mode, on the CPU.
        encoder: file to write.
        decoder: file to write.

    Raises:
        RuntimeError: torch cannot express them in ONNX.
    """
    layers = network.decoder.num_layers
    speech, past, present = (cache_names(kind, layers) for kind in ("speech", "past", "present"))
    generator = torch.Generator().manual_seed(0)
    num_samples = torch.tensor([36_000, 17_000, 11_000])  # of different lengths, and more than one: see `write_onnx`
    waveform = 0.1 * torch.randn(3, 36_000, generator=generator)
    with torch.no_grad():
        num_frames, *heard = EncoderGraph(network)(waveform, num_samples)
    heads, width = heard[0].shape[1], heard[0].shape[3]
    before = [torch.randn(3, heads, 5, width, generator=generator) for _ in past]
    _write(
        EncoderGraph(network), (waveform, num_samples), ["waveform", "num_samples"], ["num_frames", *speech],
        ({0: _FREE, 1: _FREE}, {0: _FREE}), encoder,
    )  # fmt: skip
    caches = tuple({0: _FREE, 2: _FREE} for _ in (*speech, *past))
    _write(
        DecoderGraph(network), (torch.tensor([[1, 2, 3, 4]] * 3), num_frames, *heard, *before),
        ["tokens", "num_frames", *speech, *past], ["logits", "attention", *present],
        ({0: _FREE, 1: _FREE}, {0: _FREE}, caches), decoder,
    )  # fmt: skip


def _write(
    graph: nn.Module, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str], free: tuple, path: Path
) -> None:
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            graph, examples, dynamo=True, opset_version=OPSET_VERSION, input_names=inputs, output_names=outputs,
            dynamic_shapes=free, verbose=False,
        )  # fmt: skip
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {path.name}")
    ShapeInferencePass()(program.model)
    make_portable(program.model)
    _turn_weights(program.model.graph)
    save_graph(program.model, path)


def _turn_weights(graph: ir.Graph) -> None:
    """Store turned weights as such: those of the scores are the embedding's, which quantisation would not see."""
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Transpose" else None
        if source is None or source.const_value is None or not source.is_initializer():
            continue
        order = node.attributes["perm"].as_ints()
        turned = node.outputs[0]
        name, values = f"{source.name}_turned", source.const_value.numpy().transpose(order).copy()
        weight = ir.Value(name=name, const_value=ir.tensor(values, name=name))
        weight.type, weight.shape = source.type, turned.shape
        graph.register_initializer(weight)
        turned.replace_all_uses_with(weight)
        graph.remove(node, safe=True)
