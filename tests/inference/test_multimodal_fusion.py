"""Answers to words and voice: streamed, with scores by name; and what is refused. Networks are random."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

from pixel_mm.audio import AudioError
from pixel_mm.chat import chat_tokens
from pixel_mm.fusion_spec import ADAPTER
from pixel_mm.inference.fusion_cli import main
from pixel_mm.inference.fusion_reply import GenerationOptions
from pixel_mm.inference.multimodal_fusion import MultimodalPixel
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.checkpoint import CheckpointError
from pixel_mm.models.fusion.backbone import Backbone
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.models.fusion.scores import name_scores
from tests.models.fusion.tiny_fusion import SOFT_TOKENS, backbone
from tests.tiny_fusion_folder import ALL_SCORES, SYSTEM, tiny_network
from tests.tone_corpus import tone

STATE_SCORES = {"valence", "arousal", "dominance", "crisis", "bias"}
EQ_SCORES = {"emotional_reaction", "interpretation", "exploration"}
WORDS = "I'm fine, really."
SHORT = GenerationOptions(max_tokens=16)
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def pixel(tiny_fusion_folder: Path) -> MultimodalPixel:
    return MultimodalPixel.load(tiny_fusion_folder, num_threads=1)


@pytest.fixture(scope="module")
def soft(tiny_soft_folder: Path) -> MultimodalPixel:
    return MultimodalPixel.load(tiny_soft_folder, num_threads=1)


def voice(seconds: float = 1.5, base_hz: float = 110.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng(0)
    return sum(np.sin(2 * np.pi * base_hz * k * times) / k for k in range(1, 12)) * 0.1 + 0.001 * rng.normal(
        size=times.size
    )


def bare_answer(words: str, source: Backbone, max_tokens: int) -> list[int]:
    ids = torch.tensor([chat_tokens(source.tokenizer, words, system=SYSTEM).input_ids])
    tokens = source.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False,
        eos_token_id=source.tokenizer.eos_token_id,
    )  # fmt: skip
    return [token for token in tokens[0, ids.shape[1] :].tolist() if token != source.tokenizer.eos_token_id]


@pytest.mark.parametrize("which", ["pixel", "soft"])
def test_without_a_voice_the_answer_is_the_bare_models(which: str, request: pytest.FixtureRequest) -> None:
    loaded: MultimodalPixel = request.getfixturevalue(which)
    reply = loaded.respond(WORDS, options=SHORT).finish()
    assert list(reply.tokens) == bare_answer(WORDS, backbone(), 16)
    heard = loaded.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT).finish()
    assert heard.tokens != reply.tokens


def test_pieces_make_the_text_and_scores_come_before_them(pixel: MultimodalPixel) -> None:
    reply = pixel.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT)
    assert set(reply.scores.scores) == STATE_SCORES
    assert reply.text == ""
    pieces = list(reply)
    assert len(pieces) > 1
    assert "".join(pieces) == reply.text
    assert reply.finish_reason in ("length", "end")
    assert list(reply) == []


def test_scores_are_those_of_the_network_that_was_exported(pixel: MultimodalPixel) -> None:
    network = tiny_network().requires_grad_(False)
    audio = voice()
    reply = pixel.respond(WORDS, audio, sample_rate_hz=RATE_HZ, options=SHORT).finish()
    waveform = torch.from_numpy(pixel._voice(audio, RATE_HZ))[None]
    hearing = network.hear(network.encode(waveform, torch.tensor([waveform.shape[1]])), torch.tensor([0]), 1)
    turn = chat_tokens(network.backbone.tokenizer, WORDS, system=SYSTEM)
    ends = [network.backbone.tokenizer.eos_token_id] if reply.finish_reason == "end" else []
    ids = torch.tensor([[*turn.input_ids, *reply.tokens, *ends]])
    place = torch.arange(ids.shape[1])[None]
    asked, answered = (place >= turn.words_start) & (place < turn.answer_start), place >= turn.answer_start
    there = torch.tensor([True])
    output = network(Prompt(ids, torch.ones_like(ids)), asked, answered, there, hearing)
    wanted = name_scores(output, network.state_scores, network.answer_scores, there, there)
    pairs = [(getattr(reply.scores, kind), getattr(wanted, kind)) for kind in ("scores", "text", "audio", "confidence")]
    for found, expected in pairs:
        known = {name: float(value) for name, value in expected.items() if not value.isnan()}
        assert found == pytest.approx(known, abs=1e-4)
    assert set(reply.scores.scores) == set(ALL_SCORES)
    assert set(reply.scores.confidence) == {"text", "audio", "overall"}


def test_there_are_scores_of_what_there_is(pixel: MultimodalPixel) -> None:
    words = pixel.respond(WORDS).scores
    assert (set(words.scores), set(words.text), words.audio) == (STATE_SCORES, STATE_SCORES, {})
    assert words.confidence.keys() == {"text", "overall"}
    sound = pixel.respond(audio=voice(), sample_rate_hz=RATE_HZ).scores
    heard = STATE_SCORES - {"bias"}  # is that of words
    assert (set(sound.scores), sound.text, set(sound.audio)) == (heard, {}, heard)
    assert sound.confidence.keys() == {"audio", "overall"}
    blank = pixel.respond("  \n", voice(), sample_rate_hz=RATE_HZ).scores
    assert blank.as_dict() == sound.as_dict()


def test_crisis_with_a_voice_is_never_below_that_of_the_words(pixel: MultimodalPixel) -> None:
    for base_hz in (90.0, 150.0, 300.0):
        found = pixel.respond(WORDS, voice(base_hz=base_hz), sample_rate_hz=RATE_HZ).scores
        assert found.scores["crisis"] >= found.text["crisis"]


def test_a_seed_repeats_an_answer_and_leaves_others_alone(pixel: MultimodalPixel) -> None:
    def drawn(seed: int | None, top_p: float = 1.0) -> tuple[int, ...]:
        options = GenerationOptions(max_tokens=16, temperature=1.5, top_p=top_p, seed=seed)
        return pixel.respond(WORDS, options=options).finish().tokens

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(3, top_p=1e-6) == pixel.respond(WORDS, options=SHORT).finish().tokens


def test_two_conversations_side_by_side_are_what_they_are_alone(pixel: MultimodalPixel) -> None:
    alone = pixel.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT).finish().as_dict()
    one = pixel.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT)
    other = pixel.respond("What now?", options=SHORT)
    for _ in zip(one, other, strict=False):
        pass
    assert one.finish().as_dict() == alone


def test_an_answer_that_nobody_reads_on_is_not_made(pixel: MultimodalPixel) -> None:
    reply = pixel.respond(WORDS, options=GenerationOptions(max_tokens=1000))
    next(iter(reply))
    assert len(reply.tokens) < 10
    assert reply.finish_reason is None


def test_characters_of_several_tokens_come_whole(pixel: MultimodalPixel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = pixel.network.backbone.tokenizer
    wanted = iter([*tokenizer("Grüß 😀!")["input_ids"], tokenizer.eos_token_id])
    monkeypatch.setattr("pixel_mm.models.fusion.answering.Sampling.chooser", lambda self: lambda logits: next(wanted))
    pieces = list(pixel.respond(WORDS, options=GenerationOptions(max_tokens=50)))
    assert pieces == ["G", "r", "ü", "ß", " ", "😀", "!"]


def test_30_seconds_of_voice_and_one_word(pixel: MultimodalPixel) -> None:
    reply = pixel.respond("Yes", voice(30.0), sample_rate_hz=RATE_HZ, options=GenerationOptions(max_tokens=2)).finish()
    assert set(reply.scores.scores) == set(ALL_SCORES)


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (np.where(np.arange(24_000) == 7, np.nan, voice(1.0)), "1 samples are NaN"),
        (np.zeros(24_000), "silent: every sample is 0; leave out audio"),
        (voice(30.1), r"30\.1 s long; a turn is heard as a whole, up to 30 s"),
        (voice(0.01), "shortest usable clip"),
    ],
)
def test_a_voice_that_cannot_be_heard_is_refused_by_name(pixel: MultimodalPixel, audio: np.ndarray, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        pixel.respond(WORDS, audio, sample_rate_hz=RATE_HZ)


def test_what_cannot_be_answered_is_refused(pixel: MultimodalPixel) -> None:
    with pytest.raises(ValueError, match="nothing to answer to: text is empty and there is no audio"):
        pixel.respond(" ")
    with pytest.raises(ValueError, match="sample_rate_hz"):
        pixel.respond(audio=voice())
    with pytest.raises(ValueError, match="more than the 2048 that random llama reads"):
        pixel.respond("word " * 500)
    with pytest.raises(ValueError, match="max_tokens is 0"):
        GenerationOptions(max_tokens=0)
    pixel_of_voice = MultimodalPixel(pixel.spec, pixel.network, pixel._listener)
    pixel_of_voice.fusion = replace(pixel.fusion, reads_text=False)
    with pytest.raises(ValueError, match="trained on the voice alone"):
        pixel_of_voice.respond(WORDS, voice(), sample_rate_hz=RATE_HZ)


def test_soft_tokens_make_prompts_for_engines_that_take_embeddings(
    pixel: MultimodalPixel, soft: MultimodalPixel
) -> None:
    source = backbone()
    embeddings = soft.prompt_embeddings(WORDS, voice(), sample_rate_hz=RATE_HZ)
    ids = torch.tensor([chat_tokens(source.tokenizer, WORDS, system=SYSTEM).input_ids])
    words = source.model.get_input_embeddings()(ids)[0].detach().numpy()
    assert embeddings.shape == (4 + len(words), 32)  # two latents for each of two seconds
    assert np.array_equal(embeddings[4:], words)
    assert np.array_equal(soft.prompt_embeddings(WORDS), words)
    # What such an engine does with them is what `respond` answers.
    given = torch.from_numpy(embeddings)[None]
    tokens = source.model.generate(inputs_embeds=given, max_new_tokens=16, do_sample=False)
    reply = soft.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT).finish()
    assert [token for token in tokens[0].tolist() if token != source.tokenizer.eos_token_id] == list(reply.tokens)
    with pytest.raises(ValueError, match="cross-attention; train model=fusion_soft_tokens"):
        pixel.prompt_embeddings(WORDS)


def test_another_backbone_is_refused_with_both_fingerprints(tiny_fusion_folder: Path) -> None:
    other, own = backbone(seed=1), backbone()
    with pytest.raises(ModelFolderError, match=f"trained on random llama.*{own.sha256}.*here has {other.sha256}"):
        MultimodalPixel.load(tiny_fusion_folder, backbone=other)
    loaded = MultimodalPixel.load(tiny_fusion_folder, backbone=own)
    assert loaded.network.language_model is own.model


def test_another_tokenizer_is_refused_and_another_template_is_not_used(tiny_fusion_folder: Path) -> None:
    changed = backbone()
    changed.tokenizer.chat_template = "{{ messages }}"
    loaded = MultimodalPixel.load(tiny_fusion_folder, backbone=changed)
    assert "<|im_start|>" in loaded.network.backbone.tokenizer.chat_template
    changed.tokenizer.add_tokens(["another"])
    with pytest.raises(ModelFolderError, match="tokenizer with SHA-256"):
        MultimodalPixel.load(tiny_fusion_folder, backbone=changed)


def test_a_graph_with_another_encoder_is_refused_with_both_fingerprints(
    tiny_fusion_folder: Path, tmp_path: Path
) -> None:
    folder = ModelFolder(shutil.copytree(tiny_fusion_folder, tmp_path / "model"))
    graph = onnx.load(str(folder.onnx))
    (entry,) = (each for each in graph.metadata_props if each.key == "encoders.recognition")
    own, entry.value = entry.value, "f" * 64
    onnx.save(graph, str(folder.onnx))
    with pytest.raises(ModelFolderError, match="not the file that was exported"):
        MultimodalPixel.load(folder.path)
    folder.seal(ModelSpec.read(folder.spec))
    with pytest.raises(ModelFolderError, match=rf"encoders\.recognition with SHA-256 {own}.*here has {'f' * 64}"):
        MultimodalPixel.load(folder.path)


def test_an_adapter_of_another_model_is_refused(
    tiny_fusion_folder: Path, tiny_soft_folder: Path, tmp_path: Path
) -> None:
    folder = ModelFolder(shutil.copytree(tiny_fusion_folder, tmp_path / "model"))
    shutil.copyfile(tiny_soft_folder / ADAPTER, folder.path / ADAPTER)
    folder.seal(ModelSpec.read(folder.spec))
    with pytest.raises(CheckpointError, match="adapter is SoftTokenAdapter in it, CrossAttentionAdapter"):
        MultimodalPixel.load(folder.path)
    (folder.path / ADAPTER).write_bytes(b"nothing")
    folder.seal(ModelSpec.read(folder.spec))
    with pytest.raises(CheckpointError, match="damaged or no adapter"):
        MultimodalPixel.load(folder.path)


def test_a_folder_of_another_task_is_refused(tiny_fusion_folder: Path, tmp_path: Path) -> None:
    folder = ModelFolder(shutil.copytree(tiny_fusion_folder, tmp_path / "model"))
    folder.seal(replace(ModelSpec.read(folder.spec), task="speech_recognition"))
    with pytest.raises(ModelFolderError, match="does speech_recognition, not multimodal_fusion"):
        MultimodalPixel.load(folder.path)


def test_the_command_answers_with_text_and_table_or_json(
    tiny_fusion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pixel: MultimodalPixel
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone("sadness", 200.0, 1.2, np.random.default_rng(0)), 16_000)
    arguments = [str(tiny_fusion_folder), "--text", WORDS, "--audio", str(path), "--max-tokens", "8"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["scores"]) == set(ALL_SCORES)
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(found["answer"])
    assert all(name in printed for name in (*ALL_SCORES, "confidence"))
    assert main([str(tiny_fusion_folder), "--text", ""]) == 2
    assert "nothing to answer to" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), "--text", WORDS]) == 2
    assert "no folder" in capsys.readouterr().err


def test_soft_tokens_answer_with_all_scores(soft: MultimodalPixel) -> None:
    assert tiny_network(adapter=SOFT_TOKENS).backbone.sha256 == soft.network.backbone.sha256
    reply = soft.respond(WORDS, voice(), sample_rate_hz=RATE_HZ, options=SHORT).finish()
    assert set(reply.scores.scores) == set(ALL_SCORES)
