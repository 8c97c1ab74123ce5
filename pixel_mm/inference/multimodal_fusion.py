"""Answers to words and voice, with scores by name: a frozen language model and a fused model's folder.

    python -m pixel_mm.inference.multimodal_fusion MODEL_DIR --text "I'm fine." --audio a.wav
    python -m pixel_mm.inference.multimodal_fusion MODEL_DIR --text "I'm fine." --audio a.wav --json

    pixel = MultimodalPixel.load("MODEL_DIR")
    reply = pixel.respond("I'm fine.", waveform, sample_rate_hz=48_000)
    reply.scores.scores["crisis"]  # there before the first word
    for piece in reply:
        print(piece, end="")

What listens runs over onnxruntime, the language model in torch. Needs neither Lightning nor Hydra.
Exit codes of the command: 0 answered, 2 no usable model, audio or arguments.
"""

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixel_mm.audio import AudioError, SilentAudioError, Waveform, prepare
from pixel_mm.chat import chat_tokens, tokenizer_sha256
from pixel_mm.fusion_spec import ADAPTER, TASK, BackboneSpec, FusionSpec, refuse_others
from pixel_mm.inference.fusion_listener import Listener
from pixel_mm.inference.fusion_reply import GenerationOptions, Reply, Turn
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.fusion.adapter import CrossAttentionAdapter, SoftTokenAdapter
from pixel_mm.models.fusion.adapter_file import load_adapter
from pixel_mm.models.fusion.backbone import Backbone, PublishedBackbone, RandomBackbone
from pixel_mm.models.fusion.frame_source import HeardElsewhere
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt, soft_prompt
from pixel_mm.models.fusion.resampler import Resampler


class MultimodalPixel:
    """Answers one turn at a time; `respond` may be called from several threads.

    Args:
        spec: of the model folder.
        network: with the folder's weights, on the language model.
        listener: of the folder.
    """

    def __init__(self, spec: ModelSpec, network: FusionNetwork, listener: Listener) -> None:
        """Take the parts; most callers want `load`."""
        self.spec, self.fusion = spec, FusionSpec.parse(spec.fusion)
        self.network, self._listener = network, listener
        self._device = next(network.language_model.parameters()).device
        self._ends = _ends(network.backbone)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        backbone: str | Path | Backbone | None = None,
        device: torch.device | str = "cpu",
        num_threads: int = 0,
    ) -> "MultimodalPixel":
        """Load what `python -m pixel_mm.export target=fusion` wrote, and the language model that it was trained on.

        Args:
            folder: the model folder.
            backbone: where the language model is, if not where it was for training: a local folder, or one that is
                loaded already.
            device: of the language model; the graph that listens runs on the processor.
            num_threads: that listen; 0 takes all cores. Those of the language model are torch's.

        Raises:
            ModelFolderError: a file is missing or not the one that was exported, or another language model, tokenizer
                or encoder is there; the message has both fingerprints.
            CheckpointError: the adapter's file is damaged or of another network.
            PretrainedError: the language model is not where it should be.
        """
        place = ModelFolder(Path(folder))
        spec = place.open(place.onnx.name, ADAPTER)
        if spec.task != TASK:
            raise ModelFolderError(f"model '{spec.name}' does {spec.task}, not {TASK}; give another model folder")
        fusion = FusionSpec.parse(spec.fusion)
        listener = Listener(place.onnx, spec, num_threads)
        refuse_others(fusion.encoders_sha256, listener.encoders_sha256, str(folder))
        language_model = _backbone(fusion, backbone, str(folder))
        network = _network(fusion, language_model)
        load_adapter(network, place.path / ADAPTER)
        return cls(spec, network.requires_grad_(False).eval().to(device), listener)

    def respond(
        self,
        text: str | None = None,
        audio: NDArray[Any] | None = None,
        *,
        sample_rate_hz: float | None = None,
        options: GenerationOptions | None = None,
    ) -> Reply:
        """Answer a turn.

        Args:
            text: what the person said; None or blank where no words are known.
            audio: how: [samples] or [channels, samples], floating point or full-scale integers, 25 ms to 30 s. None:
                the answer is the bare language model's, to the bit.
            sample_rate_hz: of the audio, 8 000 to 192 000.
            options: how the answer is made; None: the likeliest, up to 256 tokens.

        Raises:
            AudioError: silent, NaN, too short or too long, or of another rank or type; the message says which.
            ValueError: neither words nor voice, words for a model of the voice alone, or more than the language model
                reads.
        """
        chosen = GenerationOptions() if options is None else options
        turn = self._turn(text, audio, sample_rate_hz)
        length = turn.input_ids.shape[1] + (0 if turn.hearing is None else turn.hearing.latents.shape[1])
        limit = getattr(self.network.language_model.config, "max_position_embeddings", length + chosen.max_tokens)
        if length + chosen.max_tokens > limit:
            raise ValueError(
                f"text: the turn has {length} tokens, and with max_tokens={chosen.max_tokens} more than the {limit} "
                f"that {self.fusion.backbone.id} reads; shorten the text, or lower max_tokens"
            )
        return Reply(self.network, turn, chosen, self._ends)

    @torch.inference_mode()
    def prompt_embeddings(
        self, text: str | None = None, audio: NDArray[Any] | None = None, *, sample_rate_hz: float | None = None
    ) -> NDArray[np.float32]:
        """A turn as embeddings, for a serving engine that takes them in place of tokens: float32 [P + S, hidden].

        Args:
            text: see `respond`.
            audio: see `respond`.
            sample_rate_hz: see `respond`.

        Raises:
            ValueError: the model hears through cross-attention, which no such engine has; or see `respond`.
        """
        if not isinstance(self.network.adapter, SoftTokenAdapter):
            raise ValueError(
                f"'{self.spec.name}' hears through cross-attention; train model=fusion_soft_tokens for this"
            )
        turn, model = self._turn(text, audio, sample_rate_hz), self.network.language_model
        if turn.hearing is None:
            embedded = model.get_input_embeddings()(turn.input_ids)
        else:
            prompt = Prompt(turn.input_ids, torch.ones_like(turn.input_ids))
            embedded, _ = soft_prompt(model, self.network.adapter, prompt, turn.hearing)
        array: NDArray[np.float32] = embedded[0].float().cpu().numpy()
        return array

    def _turn(self, text: str | None, audio: NDArray[Any] | None, sample_rate_hz: float | None) -> Turn:
        words = None if text is None or not text.strip() else text
        if words is None and audio is None:
            raise ValueError("there is nothing to answer to: text is empty and there is no audio; give one of them")
        if words is not None and not self.fusion.reads_text:
            raise ValueError(f"'{self.spec.name}' was trained on the voice alone; leave out text")
        hearing = None if audio is None else self._listener(self._voice(audio, sample_rate_hz), self._device)
        tokens = chat_tokens(self.network.backbone.tokenizer, words, system=self.fusion.system)
        ids = torch.tensor([tokens.input_ids], device=self._device)
        return Turn(ids, tokens.words_start, words is not None, hearing)

    def _voice(self, audio: NDArray[Any], sample_rate_hz: float | None) -> Waveform:
        if sample_rate_hz is None:
            raise ValueError("audio needs its sample_rate_hz, such as 16000")
        try:
            waveform = prepare(audio, sample_rate_hz).waveform
        except SilentAudioError as error:
            raise SilentAudioError(f"{error}; leave out audio to answer the words alone") from None
        if waveform.size > round(self.spec.max_seconds * self.spec.sample_rate_hz):
            seconds = waveform.size / self.spec.sample_rate_hz
            raise AudioError(
                f"{seconds:.1f} s long; a turn is heard as a whole, up to {self.spec.max_seconds:g} s: give the part "
                "that shall be answered"
            )
        return waveform


def _backbone(fusion: FusionSpec, given: str | Path | Backbone | None, place: str) -> Backbone:
    """The language model with the chat template that it was trained with.

    Raises:
        ModelFolderError: it, or its tokenizer, is another one.
    """
    loaded = given if isinstance(given, Backbone) else _load_backbone(fusion.backbone, given)
    refuse_others({fusion.backbone.id: fusion.backbone.sha256}, {fusion.backbone.id: loaded.sha256}, place)
    tokenizer = copy.deepcopy(loaded.tokenizer)
    refuse_others({"tokenizer": fusion.tokenizer_sha256}, {"tokenizer": tokenizer_sha256(tokenizer)}, place)
    tokenizer.chat_template = fusion.chat_template
    return Backbone(loaded.model, tokenizer, loaded.sha256, loaded.num_layers, loaded.first_layer)


def _load_backbone(spec: BackboneSpec, folder: str | Path | None) -> Backbone:
    if spec.source == "random":
        return RandomBackbone(**spec.arguments).load()
    arguments = dict(spec.arguments)
    if folder is not None:
        arguments |= {"source": "folder", "folder": str(folder)}
    return PublishedBackbone(**arguments).load()


def _network(fusion: FusionSpec, backbone: Backbone) -> FusionNetwork:
    """The network of a folder, its encoders being in the graph, with weights of its own."""
    kinds: dict[str, Any] = {"cross_attention": CrossAttentionAdapter, "soft_tokens": SoftTokenAdapter}
    encoders = {
        name: HeardElsewhere(each.sha256, each.hidden_size, each.frame_rate_hz, each.architecture)
        for name, each in fusion.encoders.items()
    }
    with torch.random.fork_rng(devices=[]):
        return FusionNetwork(
            backbone,
            encoders,
            fusion.scores,
            adapter=partial(kinds[fusion.adapter], **fusion.sizes["adapter"]),
            resampler=partial(Resampler, **fusion.sizes["resampler"]),
            layers=fusion.layers,
            head_width=fusion.sizes["head_width"],
            reads_text=fusion.reads_text,
            reads_top=fusion.sizes["reads_top"],
        )


def _ends(backbone: Backbone) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those of the model's own generation."""
    configured = getattr(backbone.model.generation_config, "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (backbone.tokenizer.eos_token_id, *more) if token is not None)


if __name__ == "__main__":
    from pixel_mm.inference.fusion_cli import main

    sys.exit(main())
