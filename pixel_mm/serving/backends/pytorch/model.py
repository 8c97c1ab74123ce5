"""Stands in for Triton's C++ PyTorch backend: runs model.pt with the project's torch, inside the real server.

See the one for onnxruntime. Inputs go to the model in the order of the configuration, outputs come back in it. Takes
the parameter `INTRA_OP_THREAD_COUNT`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

# At the end, so that numpy is this environment's: torch runs with either, the server with numpy 1 alone.
sys.path.append(os.environ["PIXEL_MM_TORCH"])
import torch


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the version's file.

        Raises:
            TritonModelException: numpy 2, no file, or one that torch does not load.
        """
        if np.__version__ >= "2":
            raise pb_utils.TritonModelException(f"numpy {np.__version__}: this server needs numpy 1")
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.pt"
        path = Path(args["model_repository"], args["model_version"], file)
        threads = config["parameters"].get("INTRA_OP_THREAD_COUNT", {}).get("string_value")
        if threads:
            torch.set_num_threads(int(threads))
        try:
            self._model = torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:  # torch raises RuntimeError, ValueError and errors of zip for a broken file
            raise pb_utils.TritonModelException(f"{path}: {error}") from error
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list) -> list:
        """Run the requests of one batch together."""
        arrays = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        try:
            with torch.no_grad():
                joined = [torch.from_numpy(np.concatenate(tensors)) for tensors in zip(*arrays, strict=True)]
                outputs = [output.numpy() for output in self._model(*joined)]
        except Exception as error:
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))) for _ in requests]
        ends = np.cumsum([len(tensors[0]) for tensors in arrays])[:-1]
        parts = [np.split(output, ends) for output in outputs]
        return [self._response([part[row] for part in parts]) for row in range(len(requests))]

    def _response(self, outputs: list[np.ndarray]) -> object:
        named = zip(self._outputs, outputs, strict=True)
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(output)) for name, output in named]
        return pb_utils.InferenceResponse(output_tensors=tensors)
