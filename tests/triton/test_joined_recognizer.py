"""A recogniser of three models on the real server: transcripts, their growth, versions, and what goes wrong."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from hydra import compose, initialize_config_dir

from pixel_mm.audio import AudioError, prepare, read_audio
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.export import main
from pixel_mm.exporters.joined_model import JoinedModel
from pixel_mm.exporters.joined_version import Pair
from pixel_mm.exporters.joiner_config import JoinerOptions
from pixel_mm.inference.triton_errors import TritonRequestError, TritonUnavailableError
from pixel_mm.inference.triton_loop import wait_for
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.inference.triton_speech import TritonSpeechRecognizer
from pixel_mm.inference.whisper_onnx import OnnxDecoder, Precision, load_tokenizer
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, decode
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer
from tests.tiny_recognition import tiny_tokenizer
from tests.triton.scoring import RATE, executions, speech

pytestmark = [pytest.mark.triton, pytest.mark.slow]

MAX_TOKENS = 24
OPTIONS = JoinerOptions(max_tokens=MAX_TOKENS, tokens_per_partial=3, threads=1)
LONG = JoinerOptions(max_tokens=440, tokens_per_partial=1, threads=1, instances=1)
HURRY = CallLimits(deadline_seconds=3.0, connect_seconds=3.0)
CLIPS = [speech(seconds, seed) for seed, seconds in enumerate((0.03, 0.7, 2.2, 5.0, 1.3))]


def loaded(server: TritonServer, name: str) -> str:
    for model in (f"{name}_encoder", f"{name}_decoder", name):
        server.load(model)
    return name


def local(folder: Path, clip: np.ndarray, precision: Precision = "float32", **options: Any) -> Hypothesis:
    decoder = OnnxDecoder.load(folder, precision, num_threads=1)
    wanted = DecodingOptions(max_tokens=MAX_TOKENS, **options)
    return decode(decoder, [prepare(clip, RATE).waveform], load_tokenizer(folder), wanted)[0]


def written(found: Hypothesis) -> str:
    return tiny_tokenizer().decode(found.tokens).strip()


@pytest.fixture(scope="module")
def repository(
    tmp_path_factory: pytest.TempPathFactory, recognizer_folder: Path, second_recognizer_folder: Path
) -> Path:
    """`speech` (versions 1 and 2, two networks), `small` (int8), `long` (version 1, which writes up to 440 tokens)."""
    place = tmp_path_factory.mktemp("repository") / "models"
    speech = JoinedModel(place, "speech")
    for folder in (recognizer_folder, second_recognizer_folder):
        speech.publish(Pair.find(folder, "float32"), OPTIONS)
    speech.promote([1, 2])
    JoinedModel(place, "small").publish(Pair.find(recognizer_folder, "int8"), OPTIONS)
    JoinedModel(place, "long").publish(Pair.find(recognizer_folder, "float32"), LONG)
    return place


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository) as running:
        for name in ("speech", "small"):
            loaded(running, name)
        yield running


@pytest.mark.parametrize(("model", "precision"), [("speech", "float32"), ("small", "int8")])
def test_transcripts_are_those_of_the_local_search(
    server: TritonServer, recognizer_folder: Path, model: str, precision: Precision
) -> None:
    version = "1" if model == "speech" else ""
    with TritonSpeechRecognizer(server.grpc_url, model, version) as recognizer:
        texts = set()
        for clip in CLIPS:
            found, wanted = recognizer(clip, RATE), local(recognizer_folder, clip, precision)
            assert found.text == written(wanted)
            assert found.confidence == pytest.approx(np.exp(wanted.mean_log_probability), abs=1e-4)
            assert found.no_speech_probability == pytest.approx(wanted.no_speech_probability, abs=1e-4)
            assert (found.language, found.final, found.model_version) == ("en", True, "1")
            texts.add(found.text)
        assert len(texts) > 2


def test_beams_and_hot_words_are_those_of_the_local_search(server: TritonServer, recognizer_folder: Path) -> None:
    chosen = {"beam_size": 3, "hot_words": ("pp", "q")}
    with TritonSpeechRecognizer(server.grpc_url, "speech", "1", language="en", **chosen) as recognizer:  # type: ignore[arg-type]
        for clip in CLIPS[:3]:
            wanted = local(recognizer_folder, clip, **chosen)
            *partials, final = recognizer.stream_result(clip, RATE)
            assert final.text == written(wanted) != written(local(recognizer_folder, clip))
            assert all(final.text.startswith(partial.text) for partial in partials)


def test_what_is_told_on_the_way_only_grows(server: TritonServer) -> None:
    told = 0
    with TritonSpeechRecognizer(server.grpc_url, "speech", "1") as recognizer:
        for clip in CLIPS:
            *partials, final = recognizer.stream_result(clip, RATE)
            assert final.final
            assert not any(partial.final for partial in partials)
            texts = [*(partial.text for partial in partials), final.text]
            assert all(after.startswith(before) for before, after in pairwise(texts))
            assert len({*texts[:-1]}) == len(partials) <= MAX_TOKENS // OPTIONS.tokens_per_partial
            told += len(partials)
    assert told > len(CLIPS)


def test_two_versions_have_their_own_encoder_and_decoder(
    server: TritonServer, recognizer_folder: Path, second_recognizer_folder: Path
) -> None:
    found = []
    for version, folder in (("1", recognizer_folder), ("2", second_recognizer_folder), ("", second_recognizer_folder)):
        with TritonSpeechRecognizer(server.grpc_url, "speech", version) as recognizer:
            transcript = recognizer(CLIPS[2], RATE)
        assert transcript.text == written(local(folder, CLIPS[2]))
        found.append(transcript.text)
    assert found[0] != found[1] == found[2]


def test_encoder_and_decoder_can_be_asked_alone(server: TritonServer, recognizer_folder: Path) -> None:
    clip = prepare(CLIPS[2], RATE).waveform
    decoder = OnnxDecoder.load(recognizer_folder, num_threads=1)
    heard = decoder.hear([clip])
    tokens = np.array([[tiny_tokenizer().start, tiny_tokenizer().no_timestamps]])
    first, past = decoder.step(heard, tokens, None)
    second, _ = decoder.step(heard, tokens[:, :1], past)
    with grpc.InferenceServerClient(server.grpc_url) as client:
        encoded = ask(client, "speech_encoder", {"waveform": clip[None], "num_samples": np.array([[clip.size]])})
        for name, array in heard.inputs.items():
            np.testing.assert_allclose(encoded[name].reshape(array.shape), array, atol=1e-5)
        nothing = np.zeros((1, 2, 0, 8), dtype=np.float32)
        cache = {f"past_{part}_{layer}": nothing for layer in range(2) for part in ("keys", "values")}
        step = ask(client, "speech_decoder", {"tokens": tokens, **encoded, **cache})
        np.testing.assert_allclose(step["logits"], first, atol=1e-4)
        assert step["attention"].shape[:4] == (1, 2, 2, 2)
        cache = {f"past_{name}": step[f"present_{name}"] for name in (key.removeprefix("past_") for key in cache)}
        step = ask(client, "speech_decoder", {"tokens": tokens[:, :1], **encoded, **cache})
        np.testing.assert_allclose(step["logits"], second, atol=1e-4)


def ask(client: Any, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    tensors = [
        grpc.InferInput(name, array.shape, {"f": "FP32", "i": "INT64"}[array.dtype.kind]).set_data_from_numpy(array)
        for name, array in inputs.items()
    ]
    result = client.infer(model, tensors, model_version="1")
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


WAVE = prepare(CLIPS[1], RATE).waveform
BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "too short": ({"waveform": WAVE[:399]}, r"waveform has 399 samples \(0\.025 s\); give 400 to 480000"),
    "too long": ({"waveform": np.zeros(480_001, np.float32)}, r"waveform has 480001 samples \(30\.000 s\)"),
    "empty": ({"waveform": WAVE[:0]}, "waveform has 0 samples"),
    "no numbers": (
        {"waveform": np.where(WAVE > 0, np.float32(np.nan), WAVE)},
        r"waveform has \d+ samples that are NaN",
    ),
    "language": ({"waveform": WAVE, "language": np.array([b"xx"], object)}, "language 'xx' is none that this model"),
    "bytes": ({"waveform": WAVE, "language": np.array([b"\xff"], object)}, "language is no text in UTF-8"),
    "beams": ({"waveform": WAVE, "beam_size": np.array([6], np.int32)}, "beam_size is 6; this model takes 1 to 5"),
    "no beam": ({"waveform": WAVE, "beam_size": np.array([0], np.int32)}, "beam_size is 0"),
    "no waveform": ({"language": np.array([b"en"], object)}, "waveform"),
    "shape": ({"waveform": WAVE[None]}, "waveform"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_by_name_and_the_next_one_is_served(server: TritonServer, case: str) -> None:
    inputs, message = BAD[case]
    with TritonSpeechRecognizer(server.grpc_url, "speech", "1") as recognizer:

        async def send() -> None:
            async for _ in recognizer._transport.stream("speech", "1", inputs, ("text",), time.monotonic() + 10):
                raise AssertionError("it was served")

        with pytest.raises(TritonRequestError, match=message):
            wait_for(send())
        assert recognizer(CLIPS[1], RATE).final


def test_what_is_no_audio_is_refused_before_it_is_sent(server: TritonServer) -> None:
    with TritonSpeechRecognizer(server.grpc_url, "speech") as recognizer:
        for clip, message in ((np.zeros(8000), "silent"), (speech(30.1), "at most 30 s"), (np.full(99, np.nan), "NaN")):
            with pytest.raises(AudioError, match=message):
                recognizer(clip, RATE)


def test_a_model_that_writes_nothing_down_is_refused(server: TritonServer) -> None:
    with pytest.raises(TritonRequestError, match="'speech_encoder' does speech_recognition_encoder"):
        TritonSpeechRecognizer(server.grpc_url, "speech_encoder", limits=HURRY)


def test_who_stops_listening_stops_the_search(server: TritonServer) -> None:
    loaded(server, "long")
    with TritonSpeechRecognizer(server.grpc_url, "long") as recognizer:
        short = steps_of(server, lambda: recognizer(CLIPS[0], RATE))
        *_, whole = recognizer.stream_result(CLIPS[3], RATE)
        long = steps_of(server, lambda: recognizer(CLIPS[3], RATE))
        assert long > 100  # else there is nothing to cancel

        def cancelled_and_next() -> None:
            answers = recognizer.stream_result(CLIPS[3], RATE)
            assert next(answers).text
            answers.close()  # type: ignore[attr-defined]
            assert recognizer(CLIPS[0], RATE).final  # the only instance is free again

        assert steps_of(server, cancelled_and_next) - short < 0.8 * long
        assert recognizer(CLIPS[3], RATE) == whole


def steps_of(server: TritonServer, work: Callable[[], object]) -> int:
    """Runs of the decoder while some work was done."""
    before, _ = executions(server, "long_decoder")
    work()
    return executions(server, "long_decoder")[0] - before


def test_without_its_decoder_it_says_so_and_goes_on_when_it_is_back(server: TritonServer) -> None:
    server.unload("small_decoder")
    with TritonSpeechRecognizer(server.grpc_url, "small", limits=HURRY) as recognizer:
        with pytest.raises(TritonUnavailableError, match=r"version 1 of 'small_decoder'.*attempts"):
            recognizer(CLIPS[1], RATE)
        server.load("small_decoder")
        assert recognizer(CLIPS[1], RATE).final


def refused(repository: Path, name: str, message: str) -> None:
    with TritonServer(repository) as server, pytest.raises(ServingError, match=message):
        loaded(server, name)


def test_a_decoder_of_another_export_is_refused_when_the_model_is_loaded(repository: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(repository, tmp_path / "models"))
    decoder = place / "speech_decoder"
    shutil.copyfile(decoder / "2" / "model.onnx", decoder / "1" / "model.onnx")
    refused(place, "speech", r"speech_decoder/1/model\.onnx is of another export than what calls it")
    (place / "small_encoder" / "1" / "model.onnx").unlink()
    with TritonServer(place) as server, pytest.raises(ServingError, match=r"small_encoder/1/model\.onnx is missing"):
        server.load("small")


def test_what_is_missing_beside_it_is_named(repository: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(repository, tmp_path / "models"))
    for name, message in (
        ("decoding.zip", r"decoding\.zip is missing"),
        ("tokenizer.json", r"tokenizer\.json is missing"),
        ("parts.json", r"parts\.json does not say what belongs together"),
    ):
        kept = (place / "small" / "1" / name).read_bytes()
        (place / "small" / "1" / name).unlink()
        refused(place, "small", message)
        (place / "small" / "1" / name).write_bytes(kept)


def test_versions_come_and_go_while_the_server_runs(repository: Path, tmp_path: Path, recognizer_folder: Path) -> None:
    place = Path(shutil.copytree(repository, tmp_path / "models"))
    model = JoinedModel(place, "speech")
    model.promote([1])
    with TritonServer(place) as server:
        loaded(server, "speech")
        with TritonSpeechRecognizer(server.grpc_url, "speech") as recognizer:
            assert recognizer(CLIPS[1], RATE).model_version == "1"
            model.promote([2])
            loaded(server, "speech")
            assert recognizer(CLIPS[1], RATE).model_version == "2"
            model.publish(Pair.find(recognizer_folder, "float32"), OPTIONS)
            loaded(server, "speech")
            assert recognizer(CLIPS[1], RATE).model_version == "3"
            model.roll_back()
            loaded(server, "speech")
            assert recognizer(CLIPS[1], RATE).model_version == "2"
        ready = {(found["name"], str(found["version"])) for found in server.models() if found.get("state") == "READY"}
    assert ready == {("speech", "2"), ("speech_encoder", "2"), ("speech_decoder", "2")}


def export(*options: str) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        main(compose("export", list(options)))


@pytest.mark.weights
@pytest.mark.data
def test_tiny_en_writes_down_a_real_clip(tmp_path: Path, pixel_mm_data: Path) -> None:
    folder, place = tmp_path / "model", tmp_path / "models"
    export("target=recognizer", "recognizer=whisper_tiny_en",
           "recognizer.network.context=short", "precisions=[float32]", f"output={folder}")  # fmt: skip
    export("target=triton_recognizer", f"model_folder={folder}", f"repository={place}", "triton.threads=1")
    clip = read_audio(sorted((pixel_mm_data / "librispeech").rglob("*.flac"))[0])
    waveform = prepare(clip.waveform, RATE).waveform  # as the client does
    (wanted,) = decode(OnnxDecoder.load(folder, num_threads=1), [waveform], load_tokenizer(folder), DecodingOptions())
    text = load_tokenizer(folder).decode(wanted.tokens).strip()
    names = ("speech_encoder", "speech_decoder", "speech")
    with TritonServer(place, names) as server, TritonSpeechRecognizer(server.grpc_url, "speech") as recognizer:
        *partials, final = recognizer.stream_result(clip.waveform, RATE)
    assert final.text == text
    assert len(re.findall(r"[a-z]+", text.lower())) > 5
    assert len(partials) > 2
