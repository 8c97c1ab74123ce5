"""Stands in for Triton's C++ onnxruntime backend: runs model.onnx with pip's onnxruntime, inside the real server.

The server takes this file for the backend called `onnxruntime`, so that a repository made for the C++ backend
loads unchanged. Like that backend it joins the requests of a batch along the first axis, runs the graph once for the
outputs that any of them asks for and parts these again, and takes the model's parameter `intra_op_thread_count`.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the version's file and compare its tensors with the configuration.

        Raises:
            TritonModelException: numpy 2, no file, one that onnxruntime does not load, or other tensors.
        """
        if np.__version__ >= "2":
            raise pb_utils.TritonModelException(f"numpy {np.__version__}: this server needs numpy 1")
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        threads = config["parameters"].get("intra_op_thread_count", {}).get("string_value", "0")
        options.intra_op_num_threads = int(threads)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise pb_utils.TritonModelException(f"{path}: {error}") from error
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        for configured, found in (
            (self._inputs, self._session.get_inputs()),
            (self._outputs, self._session.get_outputs()),
        ):
            if unknown := set(configured) - {tensor.name for tensor in found}:
                raise pb_utils.TritonModelException(f"{path} has no tensor {', '.join(sorted(unknown))}")
        self._batches = config["max_batch_size"] > 0

    def execute(self, requests: list) -> list:
        """Run the requests of one batch together."""
        arrays = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        asked = [request.requested_output_names() for request in requests]
        if not self._batches:
            return [self._response(self._run(one, names), names) for one, names in zip(arrays, asked, strict=True)]
        wanted = [name for name in self._outputs if any(name in names for names in asked)]
        try:
            joined = {name: np.concatenate([one[name] for one in arrays]) for name in self._inputs}
            outputs = self._run(joined, wanted)
        except Exception as error:
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))) for _ in requests]
        ends = np.cumsum([len(one[self._inputs[0]]) for one in arrays])[:-1]
        parts = {name: np.split(output, ends) for name, output in outputs.items()}
        return [
            self._response({name: part[row] for name, part in parts.items()}, names) for row, names in enumerate(asked)
        ]

    def _run(self, arrays: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def _response(self, outputs: dict[str, np.ndarray], names: list[str]) -> object:
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(outputs[name])) for name in names]
        return pb_utils.InferenceResponse(output_tensors=tensors)
