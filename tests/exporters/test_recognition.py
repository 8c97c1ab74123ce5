"""Recognisers exported as model folders, run by onnxruntime."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.exporters.parity import ParityError, make_cases
from pixel_mm.exporters.recognition import _describe, publish_recognizer
from pixel_mm.exporters.recognition_parity import TOLERANCES, check_recognition
from pixel_mm.inference.confidence import ConfidenceMap
from pixel_mm.inference.recognition_engines import load_engine
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.inference.whisper_onnx import FILES, OnnxDecoder, load_tokenizer
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, Provenance
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, decode
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.whisper_tokens import TokenizerError
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

ORIGIN = Provenance("transcripts", "none", False, "unknown", "tiny", "random weights")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recognizer")
    tiny_tokenizer().tokenizer.save(str(place / "tokenizer.json"))
    publish_recognizer(
        tiny_recognizer(), place / "tokenizer.json", ORIGIN, place / "model", ("float32", "float16", "int8"),
        alignment_heads=((1, 0), (1, 1)),
    )  # fmt: skip
    return place / "model"


def clips(*lengths: int) -> list[np.ndarray]:
    waveform, _ = speech(*lengths)
    return [row[:length].numpy() for row, length in zip(waveform, lengths, strict=True)]


@pytest.mark.slow
def test_a_map_of_confidence_in_the_folder_is_used_and_verified(folder: Path, tmp_path: Path) -> None:
    place = ModelFolder(Path(shutil.copytree(folder, tmp_path / "model")))
    wanted = ConfidenceMap({"word": 1.0, "lowest": 0.0, "transcript": 0.0, "no_speech": 0.0}, 0.5, "none", 9, 2, 0.1)
    wanted.write(place.path / "confidence.yaml")
    place.seal(ModelSpec.read(place.spec))
    engine = load_engine(place.path, None, "int8", 1)
    assert isinstance(engine, DecoderEngine)
    assert engine.confidence == wanted
    tokens = tuple(tiny_tokenizer().encode(" a b"))
    found = engine.confidences(Hypothesis(tokens, (-0.5,) * 5, 0.1, "en"))
    assert found == pytest.approx([1 / (1 + np.exp(-(-0.5 + 0.5)))] * 2)
    (place.path / "confidence.yaml").write_text("bias: 9")
    with pytest.raises(ModelFolderError, match=r"confidence\.yaml is not the file that was exported"):
        load_engine(place.path, None, "int8", 1)


@pytest.mark.slow
def test_the_folder_holds_every_pair_proven_and_sealed(folder: Path) -> None:
    spec = ModelFolder(folder).open()
    names = {name for pair in FILES.values() for name in pair}
    assert {path.name for path in folder.iterdir()} == names | {
        "tokenizer.json",
        "parity.json",
        "model.yaml",
        "README.md",
    }
    assert (spec.task, spec.provenance.label_source) == ("speech_recognition", "transcripts")
    assert spec.alignment_heads == ((1, 0), (1, 1))
    engine = load_engine(folder, None, "int8", 1)
    assert isinstance(engine, DecoderEngine)
    assert engine.alignment_heads == spec.alignment_heads
    report = json.loads((folder / "parity.json").read_text())["precisions"]
    assert report["float32"]["same_transcripts"] == 1.0
    assert 0 < report["float32"]["largest_difference"] < 1e-3
    assert report["float32"]["largest_difference"] < report["float16"]["largest_difference"]
    assert 0 < report["int8"]["typical_difference"] < 0.3
    assert report["int8"]["typical_difference"] < report["int8"]["largest_difference"]
    assert load_tokenizer(folder).num_tokens == tiny_tokenizer().num_tokens


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 3])
def test_it_transcribes_as_the_network_does(folder: Path, beam_size: int) -> None:
    options = DecodingOptions(max_tokens=10, beam_size=beam_size, timestamps=True)
    recordings = clips(9_000, 20_000, 3_000)
    found = decode(OnnxDecoder.load(folder, num_threads=1), recordings, load_tokenizer(folder), options)
    wanted = decode(TorchDecoder(tiny_recognizer()), recordings, tiny_tokenizer(), options)
    assert [each.tokens for each in found] == [each.tokens for each in wanted]
    np.testing.assert_allclose(found[0].log_probabilities, wanted[0].log_probabilities, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", FILES)
def test_no_transcript_depends_on_its_batch(folder: Path, precision: str) -> None:
    decoder = OnnxDecoder.load(folder, precision, num_threads=1)  # type: ignore[arg-type]
    recordings, options = clips(9_000, 20_000, 3_000, 400), DecodingOptions(max_tokens=10)
    together = decode(decoder, recordings, tiny_tokenizer(), options)
    for clip, found in zip(recordings, together, strict=True):
        assert decode(decoder, [clip], tiny_tokenizer(), options)[0].tokens == found.tokens


@pytest.mark.slow
def test_another_network_and_changed_files_are_refused(folder: Path, tmp_path: Path) -> None:
    decoder = OnnxDecoder.load(folder, num_threads=1)
    cases = make_cases(ModelFolder(folder).open(), seed=1)[:1]
    for precision in FILES:  # int8 is judged by another figure
        with pytest.raises(ParityError, match="scores differ from the network's"):
            check_recognition(
                precision, decoder, TorchDecoder(tiny_recognizer(seed=5)), tiny_tokenizer(), cases, seed=0
            )
    with pytest.raises(ValueError, match="clip 0 has 10 samples"):
        decoder.hear([np.zeros(10, dtype=np.float32)])
    with pytest.raises(ModelFolderError, match="precision is 'int4'"):
        OnnxDecoder.load(folder, "int4")  # type: ignore[arg-type]
    with pytest.raises(ModelFolderError, match="exists; choose another"):
        publish_recognizer(tiny_recognizer(), folder / "tokenizer.json", ORIGIN, folder)


class Mixes(TorchDecoder):
    """Scores that depend a little on how many clips there are."""

    def step(self, heard, tokens, past):  # type: ignore[no-untyped-def]
        scores, past = super().step(heard, tokens, past)
        wave = np.sin(np.arange(scores.shape[-1]), dtype=np.float32)
        return scores + 0.03 * (len(tokens) - 1) * scores.std() * wave, past


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_results_that_depend_on_the_batch_are_refused(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, tokenizer = tiny_recognizer(), tiny_tokenizer()
    spec = _describe(network, Provenance("transcripts", "", False, "unknown", "tiny", "tiny"))
    cases = [case for case in make_cases(spec, seed=1) if len(case.inputs["num_samples"]) > 1]
    monkeypatch.setitem(TOLERANCES, "float16", 1.0)  # type: ignore[arg-type]
    check_recognition(precision, TorchDecoder(network), TorchDecoder(network), tokenizer, cases, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ParityError, match=f"{precision}: the result depends on what its clip is batched with"):
        check_recognition(precision, Mixes(network), TorchDecoder(network), tokenizer, cases, seed=0)  # type: ignore[arg-type]


def test_a_tokenizer_of_another_model_and_unknown_precisions_are_refused(tmp_path: Path) -> None:
    network, file = tiny_recognizer(), tmp_path / "tokenizer.json"
    tiny_tokenizer().tokenizer.save(str(file))
    with pytest.raises(ModelFolderError, match="int4"):
        publish_recognizer(network, file, ORIGIN, tmp_path / "model", ("int4",))  # type: ignore[arg-type]
    network.decoder.num_tokens += 1
    with pytest.raises(TokenizerError, match="does not belong to the weights"):
        publish_recognizer(network, file, ORIGIN, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_quantising_turns_on_nobodys_messages() -> None:
    code = """
import logging
from pixel_mm.exporters.recognition_precision import quantiser_of_blocks
before = (list(logging.root.handlers), logging.root.level)
quantiser_of_blocks()
print((list(logging.root.handlers), logging.root.level) == before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
