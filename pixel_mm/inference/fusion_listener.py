"""What listens in a fused model's folder, over onnxruntime: a waveform to what the language model is given of it."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from pixel_mm.audio import Waveform
from pixel_mm.fusion_spec import ENCODER_KEY, FusionSpec
from pixel_mm.model_folder import ModelFolderError, ModelSpec
from pixel_mm.models.fusion.cross_attention import KeysValues
from pixel_mm.models.fusion.hearing import Hearing


class Listener:
    """Hears one voice at a time; may be called from several threads.

    Args:
        graph: model.onnx of the folder.
        spec: of the folder.
        num_threads: that listen; 0 takes all cores.

    Raises:
        ModelFolderError: the graph has other inputs or outputs than model.yaml says.
    """

    def __init__(self, graph: Path, spec: ModelSpec, num_threads: int = 0) -> None:
        """Load the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._names = [tensor.name for tensor in self._session.get_outputs()]
        found = [*(tensor.name for tensor in self._session.get_inputs()), *self._names]
        described = [tensor.name for tensor in (*spec.inputs, *spec.outputs)]
        if found != described:
            raise ModelFolderError(f"{graph} has {', '.join(found)}; model.yaml says {', '.join(described)}")
        fusion = FusionSpec.parse(spec.fusion)
        self._layers = fusion.layers if fusion.adapter == "cross_attention" else ()

    @property
    def encoders_sha256(self) -> dict[str, str]:
        """Fingerprints of the encoders in the graph, as it tells itself, by `encoders.NAME`."""
        told = self._session.get_modelmeta().custom_metadata_map
        return {name: value for name, value in told.items() if name.startswith(ENCODER_KEY)}

    def __call__(self, waveform: Waveform, device: torch.device | str = "cpu") -> Hearing:
        """Listen to a voice.

        Args:
            waveform: float32 [T], 16 kHz, 25 ms to 30 s.
            device: of the language model.
        """
        inputs = {"waveform": waveform[None], "num_samples": np.array([waveform.size], dtype=np.int64)}
        outputs = dict(zip(self._names, self._session.run(self._names, inputs), strict=True))
        heard = {name: torch.from_numpy(array).to(device) for name, array in outputs.items()}
        pairs = {layer: KeysValues(heard[f"keys_{layer}"], heard[f"values_{layer}"]) for layer in self._layers}
        row = torch.zeros(1, dtype=torch.int64, device=device)
        return Hearing(row, 1, heard["latents"], heard["latents_mask"].bool(), pairs)
