"""Answers requests by decoding with the served encoder and decoder: texts that only grow, then the transcript."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from pixel_mm.inference.triton_joiner.parts import Parts
from pixel_mm.inference.triton_joiner.request_inputs import Limits, read_options, read_waveform
from pixel_mm.inference.triton_joiner.served_decoder import PartUnavailableError, ServedDecoder
from pixel_mm.models.speech_recognition.decoding import Hypothesis, decode
from pixel_mm.whisper_tokens import WhisperTokenizer

TOKENIZER = "tokenizer.json"
_INPUTS = ("waveform", "language", "beam_size", "hot_words")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # what a letter is whose last bytes are still to come


class CancelledError(Exception):
    """Nobody waits for the answer any more."""


class Joiner:
    """Decodes one utterance at a time.

    Args:
        decoder: calls the served models.
        tokenizer: of the model.
        limits: of requests.
    """

    def __init__(self, decoder: ServedDecoder, tokenizer: WhisperTokenizer, limits: Limits) -> None:
        """Take what `load` read."""
        self._decoder, self._tokenizer, self._limits = decoder, tokenizer, limits

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], model: Path) -> "Joiner":
        """Read a version's folder, and hold the encoder and decoder beside it in the repository against it.

        Args:
            folder: of the version.
            config: of the model, in the JSON of Triton's protocol.
            model: folder of the model. Where the server made a copy of it, as of a repository in a cloud, what is
                beside it cannot be seen, and the log says so.

        Raises:
            ValueError: a file is missing or of another export, or the configuration lacks a parameter.
        """
        if np.__version__ >= "2":
            raise ValueError(f"numpy {np.__version__}: this server needs numpy 1: python3 -m pip install 'numpy<2'")
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        limits, parts = Limits.of(parameters), Parts.read(folder)
        tokenizer = WhisperTokenizer.load(folder / TOKENIZER)
        tokenizer.check_fits(parts.num_tokens)
        if model.name == config["name"]:
            parts.check(model.parent)
        else:
            pb_utils.Logger.log_warn(f"{config['name']}: its encoder and decoder are not beside {model}, unchecked")
        return cls(ServedDecoder(parts), tokenizer, limits)

    def answer(self, request: Any) -> None:
        """Send texts as they grow, then the transcript; or an error, after which the next request is taken."""
        sender = request.get_response_sender()
        kinds = pb_utils.TritonError
        try:
            final = self._decode(request, sender)
        except CancelledError:
            final = _error("the client cancelled the request", kinds.CANCELLED)
        except PartUnavailableError as error:
            final = _error(str(error), kinds.UNAVAILABLE)
        except ValueError as error:
            final = _error(str(error), kinds.INVALID_ARG)
        except Exception as error:  # one request must not end the instance, whatever is wrong with it
            final = _error(f"{type(error).__name__}: {error}", kinds.INTERNAL)
        sender.send(final, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _decode(self, request: Any, sender: Any) -> Any:
        """The last response.

        Raises:
            ValueError: the request asks for what cannot be.
            CancelledError: nobody waits.
            PartUnavailableError: encoder or decoder gave no answer.
        """
        inputs = {name: _array(request, name) for name in _INPUTS}
        waveform = read_waveform(inputs["waveform"], self._limits)
        options = read_options(inputs, self._limits, self._tokenizer.multilingual)
        watch = self._watch(sender)
        (found,) = decode(self._decoder, [waveform], self._tokenizer, options, watch)
        return self._response(found, self._tokenizer.decode(found.tokens).strip(), final=True)

    def _watch(self, sender: Any) -> Callable[[Sequence[Hypothesis]], None]:
        told, text = 0, ""

        def watch(found: Sequence[Hypothesis]) -> None:
            nonlocal told, text
            if sender.is_cancelled():
                raise CancelledError
            (one,) = found
            if len(one.tokens) < told + self._limits.tokens_per_partial:
                return
            told = len(one.tokens)
            grown = self._tokenizer.decode(one.tokens).rstrip(_REPLACEMENT).strip()
            if len(grown) > len(text):
                text = grown
                sender.send(self._response(one, text, final=False))

        return watch

    def _response(self, found: Hypothesis, text: str, final: bool) -> Any:
        values = {
            "text": np.array([text.encode("utf-8")], dtype=np.object_),
            "language": np.array([found.language.encode("utf-8")], dtype=np.object_),
            "confidence": np.array([np.exp(found.mean_log_probability)], dtype=np.float32),
            "no_speech_probability": np.array([found.no_speech_probability], dtype=np.float32),
            "final": np.array([final], dtype=np.bool_),
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in values.items()])


def _array(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
