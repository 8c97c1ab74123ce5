"""The fusion network: a frozen language model, frozen speech encoders, and between them an adapter that is trained.

    audio -> encoders -> frames -> resampler -> latents -> keys and values of each block
    words -> layers below -> [block, layer] ... -> answer, scores

What is heard is an argument (`Hearing`) and is kept by the caller alone. Where nobody is heard, logits are those of the
bare language model, to the bit, and so they are with an adapter that was not trained yet.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixel_mm.data.emotions import EQ_DIMENSIONS, FUSION_SCORES
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.freezing import fingerprint, rest_frozen_parts, trained_parameters
from pixel_mm.models.fusion.adapter import Adapter, SoftTokenAdapter, choose_layers
from pixel_mm.models.fusion.backbone import Backbone
from pixel_mm.models.fusion.frame_source import FrameSource, HeardElsewhere, check_voices, encoder_frames
from pixel_mm.models.fusion.heads import FusionHeads, Readings, columns_of
from pixel_mm.models.fusion.hearing import Fusion, Hearing
from pixel_mm.models.fusion.hidden_cache import HiddenStateCache
from pixel_mm.models.fusion.layers import fuse_layers
from pixel_mm.models.fusion.reading import FusionOutput, Pass, Prompt, choose_pass, read, read_behind, spread_pass
from pixel_mm.models.fusion.resampler import AudioFrames, Resampler
from pixel_mm.models.fusion.shared_layers import keep_pace
from pixel_mm.models.fusion.token_losses import plain_head, token_losses


class FusionNetwork(DescribedNetwork):
    """See the module.

    Attributes:
        language_model: of `transformers`; its parameters keep their names.
        encoders: frozen.
        adapter: None where nobody is ever heard.
        heads: readers of scores.
        layers: numbers of the layers before which there are blocks; words are read below the first.
        state_scores: names of the scores of the person, in the order of logits.
        answer_scores: names of the scores of an answer.
        reads_text: whether rows may have words.
        states: where `prompt` finds hidden states, for a network without its lower layers.
        shares_layers: processes share the layers; see `pixel_mm.models.fusion.shared_layers`.
    """

    states: HiddenStateCache | None = None
    shares_layers: bool = False

    def __init__(
        self,
        backbone: Backbone,
        encoders: Mapping[str, FrameSource] | None,
        scores: Sequence[str],
        adapter: Callable[..., Adapter] | None,
        resampler: Callable[..., Resampler] | None = None,
        layers: Sequence[int] | None = None,
        top_share: float = 0.25,
        every: int = 2,
        head_width: int = 128,
        dropout: float = 0.1,
        reads_text: bool = True,
        recompute: bool = False,
        reads_top: bool = True,
    ) -> None:
        """Put an adapter to a language model.

        Args:
            backbone: with its lowest layers, or without those below the adapter.
            encoders: by name; what the voice is heard through.
            scores: names, of `FUSION_SCORES`, that there are labels of; others have no head.
            adapter: makes one from `resampler`, `hidden_size` and `layers`. None: words alone.
            resampler: makes one from `encoders`.
            layers: that get a block, by number, from the end where negative. None: by the next two.
            top_share: of the layers, from the top, among which they are taken.
            every: take each so-manieth of them.
            head_width: of the heads' features.
            dropout: of the heads, in training.
            reads_text: false: the baseline that has the voice alone.
            recompute: layers in the backward pass (gradient checkpointing), to save memory.
            reads_top: scores of the person are read from the hidden states at the top, too; where they are not, and the
                lower layers are not loaded, rows without an answer need none of the layers.

        Raises:
            FusionFitError: a language model that this does not fit; the message names what.
            ValueError: an unknown score, or an adapter with nothing to listen through.
        """
        super().__init__()
        if unknown := [name for name in scores if name not in FUSION_SCORES]:
            raise ValueError(f"scores: {', '.join(unknown)} are none of {', '.join(FUSION_SCORES)}")
        if adapter is not None and (not encoders or resampler is None):
            raise ValueError(
                "model.adapter listens, but model.encoders or model.resampler has nothing to listen through"
            )
        fuse_layers(backbone.model, backbone.first_layer)
        self.layers = choose_layers(backbone.num_layers, layers, top_share, every, backbone.first_layer)
        self.backbone, self.language_model = backbone, backbone.model
        self.reads_text, self.recompute = reads_text, recompute
        self.state_scores = tuple(name for name in scores if name not in EQ_DIMENSIONS)
        self.answer_scores = tuple(name for name in scores if name in EQ_DIMENSIONS)
        sources: dict[str, Any] = dict(encoders or {}) if adapter is not None else {}
        self.encoders = nn.ModuleDict(sources)
        self.encoders.requires_grad_(False)
        self.adapter: Adapter | None = None
        hidden_size = self.language_model.config.hidden_size
        if adapter is not None and resampler is not None:
            made = resampler(encoders={name: (e.hidden_size, e.frame_rate_hz) for name, e in sources.items()})
            self.adapter = adapter(resampler=made, hidden_size=hidden_size, layers=self.layers)
            if isinstance(self.adapter, SoftTokenAdapter):
                self.adapter.start_like(self.language_model.get_input_embeddings())
        audio_size = None if self.adapter is None else self.adapter.resampler.size
        self.heads = FusionHeads(
            self.state_scores, self.answer_scores, hidden_size, audio_size, head_width, dropout, reads_top
        )
        self._encoders_sha256 = {
            name: e.sha256 if isinstance(e, HeardElsewhere) else fingerprint(e.state_dict())
            for name, e in self.encoders.items()
        }
        # Routed experts work on the tokens of all rows at once: what one row is, shows in the last bits of another.
        self.rows_touch = hasattr(self.language_model.config, "num_experts_per_tok")
        self.train(self.training)

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, by name, in plain types."""
        listening = None if self.adapter is None else type(self.adapter).__name__
        return {
            "backbone": self.backbone.architecture,
            "encoders": {name: dict(source.architecture) for name, source in self.sources().items()},
            "adapter": listening,
            "latents": None if self.adapter is None else self.adapter.resampler.architecture,
            "layers": list(self.layers),
            "state_scores": list(self.state_scores),
            "answer_scores": list(self.answer_scores),
            "reads_text": self.reads_text,
            "reads_top": self.heads.top is not None,
        }

    def sources(self) -> dict[str, Any]:
        """The encoders by name."""
        return dict(self.encoders.items())

    def let_encoders_go(self) -> None:
        """Forget the encoders' weights, where the frames of every voice are kept; there is no `encode` from then on."""
        for name, source in self.sources().items():
            sizes = (source.hidden_size, source.frame_rate_hz, source.architecture)
            self.encoders[name] = HeardElsewhere(self._encoders_sha256[name], *sizes)

    @property
    def frozen_sha256(self) -> dict[str, str]:
        """Fingerprints of what the adapter was trained on: the language model and each encoder, by name."""
        return {"backbone": self.backbone.sha256, **{f"encoders.{n}": s for n, s in self._encoders_sha256.items()}}

    def prompt(self, input_ids: Tensor, attention_mask: Tensor) -> Prompt:
        """What `forward` reads: tokens, with their hidden states where the lower layers are not loaded.

        Raises:
            StateStoreError: states that were not kept.
        """
        prompt = Prompt(input_ids, attention_mask)
        return prompt if self.states is None else self.states.put_into(prompt)

    def encoder_identities(self) -> dict[str, dict[str, Any]]:
        """What the frames of each encoder depend on beside the audio, in plain types, by name."""
        return {
            name: {"weights": self._encoders_sha256[name], "architecture": dict(source.architecture)}
            for name, source in self.sources().items()
        }

    def anchor(self) -> Tensor:
        """0, float32 scalar, with a gradient of 0 for all that is trained: not every batch uses all of it."""
        return torch.stack([parameter.sum() for parameter in trained_parameters(self).values()]).sum() * 0.0

    def train(self, mode: bool = True) -> "FusionNetwork":
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self.children():
            rest_frozen_parts(part)
        return self

    @torch.no_grad()
    def encode(self, waveform: Tensor, num_samples: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Frames of every encoder, which may be kept: nothing that is trained comes before them.

        Args:
            waveform: float32 [A, T], 16 kHz, any level; what lies beyond a voice's end is ignored.
            num_samples: int64 [A], 400 (25 ms) to 480 000 (30 s).

        Raises:
            ValueError: audio that is shorter or longer, or not a number.
        """
        check_voices(waveform, num_samples)
        return encoder_frames(self.encoders, waveform, num_samples)

    def hear(self, frames: AudioFrames, rows: Tensor, num_rows: int) -> Hearing | None:
        """Listen, once for all tokens and layers.

        Args:
            frames: what `encode` gave of A voices.
            rows: int64 [A], ascending: the rows of the batch that they belong to.
            num_rows: of the batch.

        Returns:
            What the other methods take; None where there is no voice, or nothing to hear it with.
        """
        if self.adapter is None or not len(rows):
            return None
        return self.adapter.hear(frames, rows, num_rows)

    def forward(
        self,
        prompt: Prompt,
        prompt_mask: Tensor,
        answer_mask: Tensor,
        has_text: Tensor,
        hearing: Hearing | None = None,
        columns: Tensor | None = None,
        following: Tensor | None = None,
    ) -> FusionOutput:
        """Read a batch.

        Args:
            prompt: tokens, answers included; or hidden states, where the lower layers are not loaded.
            prompt_mask: bool [B, S], tokens of the person's turn.
            answer_mask: bool [B, S], tokens of the answer.
            has_text: bool [B], false where the turn has no words.
            hearing: what `hear` gave.
            columns: int64 [C], whose next tokens are asked for; None: all. Where layers are spared (`reads_top`), rows
                without an answer have logits of 0.
            following: int64 [B, S], tokens that are learnt, -100 elsewhere: their losses are asked for in place of
                logits, which saves most of the memory. Where a model changes logits behind its head, give `columns`.

        Raises:
            ValueError: hidden states are missing or not wanted; a voice of another batch; unwanted words.
        """
        self._check(prompt, has_text, hearing)
        head = None if following is None else plain_head(self.language_model)
        if head is not None:
            columns = prompt_mask.new_zeros(0, dtype=torch.int64)
        result = self._read_what_counts(prompt, hearing, columns, answer_mask.any(1))
        output = self.score(result, prompt_mask, answer_mask, has_text, hearing)
        if head is not None and following is not None:
            output = output._replace(token_losses=token_losses(head, result.top, following))
        return output._replace(way_back=keep_pace(self, prompt, result)) if self.shares_layers else output

    def score(
        self, result: Pass, prompt_mask: Tensor, answer_mask: Tensor, has_text: Tensor, hearing: Hearing | None
    ) -> FusionOutput:
        """What the heads read from a pass; arguments as those of `forward`."""
        rows = has_text.new_empty(0, dtype=torch.int64) if hearing is None else hearing.rows
        text = audio = both = answer = None
        if self.state_scores:
            turn = columns_of(prompt_mask)  # after the system's prompt, which is most of a short row
            words, text = self.heads.read_words(result.below[:, turn], prompt_mask[:, turn])
            if hearing is not None:
                readings = Readings(text.logits[rows], text.confidence[rows])
                audio, both = self.heads.read_voice(
                    hearing.latents,
                    hearing.mask,
                    words[rows],
                    readings,
                    result.top[rows, turn],
                    has_text[rows],
                    prompt_mask[rows, turn],
                )
        if self.answer_scores:
            said = columns_of(answer_mask)
            answer = self.heads.read_answer(result.top[:, said], answer_mask[:, said])
        return FusionOutput(result.logits, rows, text, audio, both, answer)

    def fusion(self, hearing: Hearing | None) -> Fusion:
        """Argument `fusion` of the language model for one call or one generation."""
        blocks = {} if self.adapter is None else self.adapter.by_layer()
        back = self.layers[0] if self.shares_layers and self.training and hearing is None and blocks else None
        return Fusion(self.layers[0], self.backbone.num_layers - 1, blocks, hearing, self.recompute, back)

    def stands_apart(self, hearing: Hearing) -> bool:
        """Whether rows that are not heard need a pass of their own to come out as from the bare model, to the bit."""
        soft = self.adapter is not None and self.adapter.soft_tokens
        return len(hearing.rows) < hearing.num_rows and (soft or self.rows_touch)

    def _read_what_counts(
        self, prompt: Prompt, hearing: Hearing | None, columns: Tensor | None, answered: Tensor
    ) -> Pass:
        """`_read`, of those rows alone that anything above the lowest block is read of."""
        if prompt.below is None or self.heads.top is not None or bool(answered.all()):
            return self._read(prompt, hearing, columns)
        size, length, _ = prompt.below.shape
        asked = length if columns is None else len(columns)
        logits = prompt.below.new_zeros(size, asked, self.language_model.config.vocab_size)
        if not bool(answered.any()):
            return Pass(logits, prompt.below, prompt.below, runs=0)
        result = self._read(prompt.of(answered), None if hearing is None else hearing.of(answered), columns)
        return spread_pass(result, answered.nonzero().flatten(), logits, prompt.below)

    def _read(self, prompt: Prompt, hearing: Hearing | None, columns: Tensor | None) -> Pass:
        model = self.language_model
        if hearing is None:
            return read(model, prompt, self.fusion(None), columns)
        if isinstance(self.adapter, SoftTokenAdapter):
            with torch.no_grad():
                bare = read(model, prompt, self.fusion(None), columns)
            heard = read_behind(model, self.adapter, prompt, hearing, self.fusion(hearing), columns)
        else:
            heard = read(model, prompt, self.fusion(hearing), columns)
            if self.training or not self.stands_apart(hearing):
                return heard
            bare = read(model, prompt, self.fusion(None), columns)
        return choose_pass(heard, hearing, bare)

    def _check(self, prompt: Prompt, has_text: Tensor, hearing: Hearing | None) -> None:
        first = self.backbone.first_layer
        if (prompt.below is None) != (first == 0):
            wanted = f"needs the hidden states that enter layer {first}" if first else "takes tokens, not hidden states"
            raise ValueError(f"the language model has its layers from {first} on, so it {wanted}")
        if hearing is not None and hearing.num_rows != len(has_text):
            raise ValueError(f"a voice was heard for a batch of {hearing.num_rows} rows, and {len(has_text)} are read")
        if not self.reads_text and bool(has_text.any()):
            raise ValueError("model.reads_text is false, but rows have words; leave them out of the prompts")
