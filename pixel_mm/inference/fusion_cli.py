"""The command line of `pixel_mm.inference.multimodal_fusion`: an answer as it is made, then scores; or JSON."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pixel_mm.audio import SAMPLE_RATE_HZ, read_audio
from pixel_mm.inference.fusion_reply import GenerationOptions, Reply
from pixel_mm.inference.multimodal_fusion import MultimodalPixel

USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer the turn on the command line.

    Returns:
        0, or `USER_ERROR` without a usable model, audio or options.
    """
    options = _parse(arguments)
    try:
        how = GenerationOptions(options.max_tokens, options.temperature, options.top_p, options.seed)
        audio = None if options.audio is None else read_audio(options.audio).waveform
        pixel = MultimodalPixel.load(options.model, options.backbone, options.device)
        reply = pixel.respond(options.text, audio, sample_rate_hz=SAMPLE_RATE_HZ, options=how)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    if options.json:
        print(json.dumps(reply.finish().as_dict(), indent=2, ensure_ascii=False))
        return 0
    for piece in reply:
        print(piece, end="", flush=True)
    print()
    _print_scores(reply)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pixel_mm.inference.multimodal_fusion", description="Answer to what is said, and how."
    )
    parser.add_argument("model", metavar="MODEL_DIR", help="what python -m pixel_mm.export target=fusion wrote")
    parser.add_argument("--text", help="what the person said")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="how they said it: up to 30 s, any format")
    parser.add_argument("--backbone", type=Path, metavar="DIR", help="the language model, if it has moved")
    parser.add_argument("--device", default="cpu", help="of the language model, such as cuda (default: cpu)")
    parser.add_argument("--max-tokens", type=int, default=256, help="of the answer (default: 256)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest answer (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="of the tokens that are drawn from (default: 1)")
    parser.add_argument("--seed", type=int, help="of what is drawn")
    parser.add_argument("--json", action="store_true", help="JSON when the answer is whole")
    return parser.parse_args(arguments)


def _print_scores(reply: Reply) -> None:
    from rich.console import Console  # here, so that --json needs no rich
    from rich.table import Table

    found = reply.scores
    table = Table()
    for column in ("score", "overall", "words", "voice"):
        table.add_column(column, justify="left" if column == "score" else "right")
    sources = (found.scores, found.text, found.audio)
    for name in found.scores:
        table.add_row(name, *(f"{source[name]:.3f}" if name in source else "" for source in sources))
    confidence = [found.confidence.get(name) for name in ("overall", "text", "audio")]
    table.add_row("confidence", *("" if value is None else f"{value:.3f}" for value in confidence))
    Console().print(table)
