"""What every exported graph that hears takes: a batch of raw waveforms, and how long each clip is."""

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES
from pixel_mm.model_folder import TensorSpec

CLIP_INPUTS = (
    TensorSpec(
        name="waveform",
        dtype="float32",
        axes=("batch", "samples"),
        unit="amplitude",
        range=(-1.0, 1.0),
        meaning="mono speech at any level; what lies beyond a clip's end is ignored",
    ),
    TensorSpec(
        name="num_samples",
        dtype="int64",
        axes=("batch",),
        unit="samples",
        range=(MIN_SAMPLES, MAX_SAMPLES),
        meaning="length of each clip, at most the samples of the waveform",
    ),
)
