"""Answers turns that come over a pipe; what a Triton server's model starts, one for each instance.

    python -m pixel_mm.inference.triton_fusion.worker MODEL_DIR [--device cuda]

Each message is a line of JSON. In: `text`, `num_samples`, `sample_rate_hz`, `options`; then the samples, float32. Out:
`scores` before the first word, a `piece` at a time, `reply` at the end; or `error`. After each but the last, a line
comes back: "go", or "stop" where nobody listens any more.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from pixel_mm.inference.fusion_reply import GenerationOptions
from pixel_mm.inference.multimodal_fusion import MultimodalPixel


def answer(pixel: MultimodalPixel, request: Mapping[str, Any], samples: bytes) -> Iterator[dict[str, Any]]:
    """Messages of one turn, the last of which is `reply` or `error`.

    Args:
        pixel: that answers.
        request: `text`, `sample_rate_hz`, `options`; None for what was not given.
        samples: float32; empty where there is no voice.
    """
    try:
        given = {name: value for name, value in request["options"].items() if value is not None}
        audio = np.frombuffer(samples, dtype=np.float32) if samples else None
        options = GenerationOptions(**given)
        reply = pixel.respond(request["text"], audio, sample_rate_hz=request["sample_rate_hz"], options=options)
        yield {"scores": reply.scores.as_dict()}
        for piece in reply:
            yield {"piece": piece}
        yield {"reply": reply.as_dict()}
    except ValueError as error:
        yield {"error": str(error)}


def serve(pixel: MultimodalPixel, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer turns until nobody asks any more.

    Args:
        pixel: that answers.
        incoming: requests, and what comes back.
        outgoing: messages.
    """
    _send(outgoing, {"ready": True})
    while line := incoming.readline():
        request = json.loads(line)
        messages = answer(pixel, request, incoming.read(4 * request["num_samples"]))
        for message in messages:
            _send(outgoing, message)
            if "reply" in message or "error" in message or incoming.readline().strip() != b"go":
                messages.close()  # type: ignore[attr-defined]  # a generator


def main() -> None:
    """Load the model and answer."""
    parser = argparse.ArgumentParser(prog="python -m pixel_mm.inference.triton_fusion.worker", description=__doc__)
    parser.add_argument("model", help="folder with model.yaml")
    parser.add_argument("--device", default="cpu", help="of the language model")
    given = parser.parse_args()
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print goes to the server's log, not between the messages
    try:
        pixel = MultimodalPixel.load(given.model, device=given.device)
    except ValueError as error:
        _send(outgoing, {"error": str(error)})
        return
    serve(pixel, sys.stdin.buffer, outgoing)


def _send(outgoing: IO[bytes], message: Mapping[str, Any]) -> None:
    outgoing.write(json.dumps(message).encode() + b"\n")
    outgoing.flush()


if __name__ == "__main__":
    main()
