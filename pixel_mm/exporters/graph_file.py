"""ONNX files in memory and on the disk: read, tidy, save, with weights beside the file where it would pass 2 GB."""

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

# protobuf cannot hold more; larger models keep their weights in NAME.data.
MAX_FILE_BYTES = 2**31 - 2**20
DATA_SUFFIX = ".data"

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node: the modules of the network that it is in, as the text of a list."""


def read_graph(path: Path) -> ir.Model:
    """An ONNX file with the dtype of every value.

    Args:
        path: a file of `save_graph`.
    """
    model = ir.load(path)
    ShapeInferencePass()(model)
    return model


def save_graph(model: ir.Model, path: Path) -> None:
    """Write a graph and check it.

    Shapes other than those of inputs and outputs are left out: torch's are in part those from before it turned weights
    around, and contradict what tools infer. So are the stack traces, which name folders of this machine.

    Args:
        model: changed by the above.
        path: file to write. Weights of more than `MAX_FILE_BYTES` go to a file of the same name with `.data` behind it.

    Raises:
        onnx.checker.ValidationError: no valid graph.
    """
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for key in set(node.metadata_props) - {SCOPES}:
            del node.metadata_props[key]
    weights = model.graph.initializers.values()
    for value in (*weights, *(value for node in model.graph for value in node.outputs)):
        value.metadata_props.clear()
        if value not in outputs:
            value.shape, value.type = None, None
    size = sum(value.const_value.nbytes for value in weights if value.const_value is not None)
    if size > MAX_FILE_BYTES:
        ir.save(model, path, external_data=path.name + DATA_SUFFIX)
    else:
        ir.save(ir.external_data.load_to_model(model), path)
    onnx.checker.check_model(str(path), full_check=True)


def scopes_of(node: ir.Node) -> set[str]:
    """Names of the modules that a node is in, each without those around it: `network.encoder.log_mel` is `log_mel`."""
    text = node.metadata_props.get(SCOPES, "")
    return {scope.rpartition(".")[2] for scope in text.strip("[]").replace("'", "").split(", ")[:-1]}
