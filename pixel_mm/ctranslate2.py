"""Whisper's weights out of CTranslate2's `model.bin`, under the names they have in `transformers`.

Layout, little-endian: u32 format version; string name of the specification; u32 its revision; u32 number of variables;
for each a string name, u8 rank, u32 per dimension, u8 type, u32 byte count, data; last, u32 number of aliases and
pairs of strings. A string is a u16 length that counts a closing NUL, and the bytes.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

_FORMAT_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))

# CTranslate2 stacks projections of the same input by rows; the names say what is stacked, in order.
_STACKED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/layer_norm": ("final_layer_norm",),
}
_SINGLE = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "layer_norm",
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
}
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}
_LAYER = re.compile(r"(encoder|decoder)/layer_(\d+)/(.+)/(\w+)")
_OUTSIDE = re.compile(r"(encoder|decoder)/(\w+)/(\w+)")


class ModelBinError(ValueError):
    """A file that is not a whole, unquantised Whisper model in CTranslate2's format."""


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Every variable of a `model.bin` by CTranslate2's name, in its own type.

    Raises:
        ModelBinError: not such a file, of an unknown version, or cut short.
    """
    with path.open("rb") as file:
        try:
            version = _unsigned(file, "I")
            if version != _FORMAT_VERSION:
                raise ModelBinError(f"{path}: CTranslate2 format version {version}, can read {_FORMAT_VERSION}")
            specification = _string(file)
            if specification != "WhisperSpec":
                raise ModelBinError(f"{path}: holds a '{specification}', need a 'WhisperSpec'")
            _unsigned(file, "I")  # revision of the specification
            return dict(_variable(file) for _ in range(_unsigned(file, "I")))
        except (struct.error, EOFError, KeyError, UnicodeDecodeError) as error:
            raise ModelBinError(f"{path}: no whole CTranslate2 model ({error!r}); fetch it again") from error


def read_whisper(path: Path) -> dict[str, Tensor]:
    """State dict of `transformers.WhisperForConditionalGeneration`, float32, from CTranslate2's file.

    The keys are `model.encoder.*`, `model.decoder.*` and `proj_out.weight` (tied to the token embedding).

    Raises:
        ModelBinError: not such a file, cut short, or quantised.
    """
    state: dict[str, Tensor] = {}
    for name, array in read_variables(path).items():
        if array.ndim == 0 or name.startswith("decoder/alignment"):
            continue  # settings such as the number of heads, not weights
        if array.dtype not in _FLOATS:
            raise ModelBinError(f"{path}: '{name}' is quantised ({array.dtype}); need float16 or float32")
        tensor = torch.from_numpy(array.astype(np.float32))
        if match := _LAYER.fullmatch(name):
            side, number, block, kind = match.groups()
            targets = _STACKED[block]
            for target, part in zip(targets, tensor.chunk(len(targets)), strict=True):
                if target.endswith("k_proj") and kind == "bias":
                    continue  # zero in the file, absent in the model
                state[f"model.{side}.layers.{number}.{target}.{_KINDS[kind]}"] = part.clone()
        elif match := _OUTSIDE.fullmatch(name):
            side, block, kind = match.groups()
            state[f"model.{side}.{_SINGLE[block]}.{_KINDS[kind]}"] = tensor
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return state


def _variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _string(file)
    shape = [_unsigned(file, "I") for _ in range(_unsigned(file, "B"))]
    dtype = np.dtype(_DTYPES[_unsigned(file, "B")])
    data = _exactly(file, _unsigned(file, "I"))
    if len(data) != dtype.itemsize * int(np.prod(shape)):
        raise EOFError(f"'{name}' has {len(data)} bytes for shape {shape}")
    return name, np.frombuffer(data, dtype).reshape(shape)


def _string(file: BinaryIO) -> str:
    return _exactly(file, _unsigned(file, "H"))[:-1].decode()


def _unsigned(file: BinaryIO, kind: str) -> int:
    (value,) = struct.unpack(f"<{kind}", _exactly(file, struct.calcsize(kind)))
    return int(value)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError(f"needed {count} more bytes, the file had {len(data)}")
    return data
