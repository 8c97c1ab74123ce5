"""How a recogniser is served: the configurations of its encoder, its decoder, and of what joins them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.triton import JOINER_BACKEND, TritonOptions, build_config, describe_model
from pixel_mm.exporters.triton_checks import TritonConfigError, check_options
from pixel_mm.model_folder import ModelSpec

JOINER_FILE = "model.py"


@dataclass(frozen=True, slots=True)
class JoinerOptions:
    """How a recogniser is served.

    Attributes:
        instances: utterances that are decoded at a time; each takes a process of the server's Python.
        part_instances: copies of the encoder and of the decoder.
        part_instance_kind: what these run on; "auto" leaves it to the server: a GPU where there is one.
        gpus: numbers of the GPUs that they are put on; none leaves it to the server.
        threads: of one copy on a processor, 0 for as many as there are.
        max_batch_size: clips, or transcripts that are followed, in one call of the encoder or decoder.
        max_beam_size: transcripts that a request may have followed.
        max_tokens: a transcript is cut after so many.
        tokens_per_partial: a client hears of a transcript after so many tokens more.
    """

    instances: int = 2
    part_instances: int = 1
    part_instance_kind: Literal["auto", "cpu", "gpu"] = "auto"
    gpus: Sequence[int] = ()
    threads: int = 0
    max_batch_size: int = 8
    max_beam_size: int = 5
    max_tokens: int = 224
    tokens_per_partial: int = 4

    def of_parts(self) -> TritonOptions:
        """Options of the encoder and of the decoder: requests as they come, no warm-up."""
        return TritonOptions(
            max_batch_size=self.max_batch_size,
            dynamic_batching=False,
            instances=self.part_instances,
            instance_kind=self.part_instance_kind,
            gpus=self.gpus,
            threads=self.threads,
            warm_up_batch_sizes=(),
        )


def check_joiner_options(options: JoinerOptions, backend: str) -> None:
    """Refuse options that cannot be.

    Args:
        options: of the user.
        backend: of the encoder and decoder.

    Raises:
        TritonConfigError: names the option.
    """
    for name in ("instances", "part_instances", "max_batch_size", "max_beam_size", "max_tokens", "tokens_per_partial"):
        if (value := getattr(options, name)) < 1:
            raise TritonConfigError(f"triton.{name} is {value}; it must be at least 1")
    if options.max_beam_size > options.max_batch_size:
        raise TritonConfigError(
            f"triton.max_beam_size is {options.max_beam_size}; that many transcripts go through the decoder at once, "
            f"and triton.max_batch_size is {options.max_batch_size}"
        )
    check_options(options.of_parts(), backend)


def build_part_config(name: str, file: str, spec: ModelSpec, options: JoinerOptions) -> ModelConfig:
    """The configuration of the encoder or the decoder; it serves no version yet.

    Args:
        name: of the model's folder.
        file: as it is called in the repository.
        spec: of the graph.
        options: how it is served.
    """
    return build_config(name, file, spec, options.of_parts(), ())


def build_joiner_config(name: str, spec: ModelSpec, options: JoinerOptions) -> ModelConfig:
    """The configuration of what joins them; it serves no version yet.

    Args:
        name: of the model's folder.
        spec: of the recogniser.
        options: how it is served.
    """
    config = ModelConfig(name=name, backend=JOINER_BACKEND, default_model_filename=JOINER_FILE)
    config.model_transaction_policy.decoupled = True
    config.input.add(name="waveform", data_type="TYPE_FP32", dims=[-1])
    for optional, data_type, dims in (
        ("language", "TYPE_STRING", [1]),
        ("beam_size", "TYPE_INT32", [1]),
        ("hot_words", "TYPE_STRING", [-1]),
    ):
        config.input.add(name=optional, data_type=data_type, dims=dims, optional=True)
    for output, data_type in (
        ("text", "TYPE_STRING"),
        ("language", "TYPE_STRING"),
        ("confidence", "TYPE_FP32"),
        ("no_speech_probability", "TYPE_FP32"),
        ("final", "TYPE_BOOL"),
    ):
        config.output.add(name=output, data_type=data_type, dims=[1])
    config.version_policy.specific.SetInParent()
    # It waits for the other two most of the time, and computes on the processor alone.
    config.instance_group.add(kind="KIND_CPU", count=options.instances)
    describe_model(config, spec)
    for parameter in ("max_beam_size", "max_tokens", "tokens_per_partial"):
        config.parameters[parameter].string_value = str(getattr(options, parameter))
    return config
