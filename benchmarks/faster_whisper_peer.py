"""faster-whisper, what recognition is compared with: a process of its own, asked by lines of JSON.

Run by the Python of an environment that has faster-whisper (`pip install faster-whisper`), never imported there with
this project: the two need not agree on the versions of anything. `benchmarks.recognition_peer` starts it.

    PYTHON benchmarks/faster_whisper_peer.py MODEL_DIR COMPUTE_TYPE THREADS CLIPS.npz

CLIPS.npz holds float32 [samples] at 16 kHz by name. A line {"clips": [NAME]} is answered by the transcript of one clip,
{"clips": [NAMES], "batch_size": N} by those of several, through the batched pipeline:
{"texts": [...], "seconds": S}. Reading the clips and loading the model are not timed.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLE_RATE_HZ = 16_000
# Greedy, one temperature, no timestamps, no search for speech: the least that it can do for a transcript.
OPTIONS: dict[str, Any] = {
    "language": "en", "beam_size": 1, "temperature": 0.0, "without_timestamps": True, "vad_filter": False,
    "condition_on_previous_text": False,
}  # fmt: skip


def transcribe_one(model: Any, clip: np.ndarray) -> list[str]:
    """Transcript of a clip, float32 [samples]."""
    segments, _ = model.transcribe(clip, **OPTIONS)
    return ["".join(segment.text for segment in segments)]


def transcribe_batch(pipeline: Any, clips: Sequence[np.ndarray], batch_size: int) -> list[str]:
    """Transcripts of clips, float32 [samples] each, through the batched pipeline, which takes one recording and places.

    It pads each place to 30 s.
    """
    ends = np.cumsum([clip.size for clip in clips])
    places = [
        {"start": (end - clip.size) / SAMPLE_RATE_HZ, "end": end / SAMPLE_RATE_HZ}
        for clip, end in zip(clips, ends.tolist(), strict=True)
    ]
    segments, _ = pipeline.transcribe(np.concatenate(clips), clip_timestamps=places, batch_size=batch_size, **OPTIONS)
    texts = [""] * len(clips)
    for segment in segments:
        middle = (segment.start + segment.end) / 2 * SAMPLE_RATE_HZ
        texts[int(np.searchsorted(ends, middle, side="right"))] += segment.text
    return texts


def main(arguments: Sequence[str]) -> None:
    """Load, say so, and answer until standard input ends."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    folder, compute_type, threads, file = arguments
    model = WhisperModel(folder, device="cpu", compute_type=compute_type, cpu_threads=int(threads))
    pipeline = BatchedInferencePipeline(model)
    with np.load(file) as archive:
        clips = {name: archive[name] for name in archive.files}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        chosen = [clips[name] for name in request["clips"]]
        start = time.perf_counter()
        if "batch_size" in request:
            texts = transcribe_batch(pipeline, chosen, request["batch_size"])
        else:
            texts = transcribe_one(model, chosen[0])
        print(json.dumps({"texts": texts, "seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
