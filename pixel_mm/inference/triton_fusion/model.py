"""Answers to words and voice: a request is a turn, its answer a stream of pieces of text, then scores.

Written by `python -m pixel_mm.export target=triton_fusion`. What lies beside it is the fused model's folder. It starts
`pixel_mm.inference.triton_fusion.worker` with the interpreter that the parameter `python` or the variable
PIXEL_MM_PYTHON names, which must have pixel_mm and torch; this file itself needs numpy alone. docs/fusion.md says more.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_WORKER = "pixel_mm.inference.triton_fusion.worker"
_OPTIONS = ("max_tokens", "temperature", "top_p", "seed")


class WorkerError(Exception):
    """The worker is gone, or never came."""


class TritonPythonModel:
    """One instance: answers one turn at a time."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the worker and wait until it has loaded the model.

        Raises:
            TritonModelException: it cannot, and why.
        """
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._max_tokens = int(parameters["max_tokens"])
        on_gpu = args["model_instance_kind"] == "GPU"
        self._command = [
            os.environ.get("PIXEL_MM_PYTHON") or parameters["python"], "-m", _WORKER,
            str(Path(args["model_repository"], args["model_version"])),
            "--device", f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu",
        ]  # fmt: skip
        self._worker: Any = None
        try:
            self._start()
        except WorkerError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests: list) -> None:
        """Answer turns, one after the other; a client that leaves is not answered to the end."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._answer(request, sender)
            except (WorkerError, OSError, ValueError) as error:
                self._end()  # in the middle of a turn it is of no use; the next one gets another
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def finalize(self) -> None:
        """End the worker."""
        self._end()

    def _answer(self, request: Any, sender: Any) -> None:
        if self._worker is None or self._worker.poll() is not None:
            self._start()
        given = {name: _value(request, name) for name in ("text", "sample_rate_hz", *_OPTIONS)}
        tensor = pb_utils.get_input_tensor_by_name(request, "waveform")
        samples = np.zeros(0, np.float32) if tensor is None else tensor.as_numpy().astype(np.float32).reshape(-1)
        options = {name: given[name] for name in _OPTIONS}
        options["max_tokens"] = min(options["max_tokens"] or self._max_tokens, self._max_tokens)
        turn = {"text": given["text"], "sample_rate_hz": given["sample_rate_hz"], "options": options}
        self._write(json.dumps({**turn, "num_samples": samples.size}).encode() + b"\n" + samples.tobytes())
        while True:
            message = self._read()
            if "error" in message:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(message["error"])))
                return
            sender.send(_response(message))
            if "reply" in message:
                return
            cancelled = request.is_cancelled()
            self._write(b"stop\n" if cancelled else b"go\n")
            if cancelled:
                return

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.environ.get("PIXEL_MM_PYTHONPATH", "")}
        try:
            self._worker = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        except OSError as error:
            raise WorkerError(
                f"{self._command[0]} does not start ({error}); PIXEL_MM_PYTHON names an interpreter with pixel_mm"
            ) from error
        message = self._read()
        if "error" in message:
            self._end()
            raise WorkerError(message["error"])

    def _write(self, content: bytes) -> None:
        self._worker.stdin.write(content)
        self._worker.stdin.flush()

    def _read(self) -> dict:
        line = self._worker.stdout.readline()
        if not line:
            raise WorkerError(
                f"the worker ended with code {self._worker.wait()}; the server's log has its last words. It is "
                f"{' '.join(self._command)}"
            )
        message: dict = json.loads(line)
        return message

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            self._worker.stdin.close()
            self._worker.stdout.close()
            self._worker = None


def _value(request: Any, name: str) -> Any:
    """The value of an optional input; None where it was not given."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    value = tensor.as_numpy().reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else value.item()


def _response(message: dict) -> Any:
    """`text`, `scores` as JSON (empty between the first and the last), and whether it is the last."""
    scores = message.get("reply") or message.get("scores")
    tensors = [
        pb_utils.Tensor("text", np.array([message.get("piece", "").encode()], dtype=object)),
        pb_utils.Tensor("scores", np.array([json.dumps(scores).encode() if scores else b""], dtype=object)),
        pb_utils.Tensor("final", np.array(["reply" in message])),
    ]
    return pb_utils.InferenceResponse(output_tensors=tensors)
