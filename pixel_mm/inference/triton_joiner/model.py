"""Joins a recogniser's encoder and decoder: a request is an utterance, its answer a stream of texts.

Written by `python -m pixel_mm.export target=triton_recognizer`. Beside it lie `decoding.zip` (the code that decodes),
`tokenizer.json` and `parts.json` (which encoder and decoder belong to this version). docs/triton.md says more.
"""

import json
import sys
from pathlib import Path

import triton_python_backend_utils as pb_utils

CODE = "decoding.zip"


class TritonPythonModel:
    """One instance: decodes one utterance at a time."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load what lies beside, and hold the encoder and decoder of the repository against it.

        Raises:
            TritonModelException: a package, file or model is missing or is another one; the message says which.
        """
        model = Path(args["model_repository"])
        folder = model / args["model_version"]
        code = folder / CODE
        if not code.is_file():
            raise pb_utils.TritonModelException(f"{code} is missing; export the version again")
        sys.path.insert(0, str(code))
        try:
            from pixel_mm.inference.triton_joiner.joiner import Joiner
        except ImportError as error:
            raise pb_utils.TritonModelException(
                f"the server's Python cannot load what decodes: {error}. It needs the packages numpy (below 2) and "
                "tokenizers: python3 -m pip install 'numpy<2' tokenizers"
            ) from error
        try:
            self._joiner = Joiner.load(folder, json.loads(args["model_config"]), model)
        except (OSError, ValueError) as error:
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests: list) -> None:
        """Answer requests, one after the other."""
        for request in requests:
            self._joiner.answer(request)
