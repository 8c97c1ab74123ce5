"""Rewrites of what torch exports and not every runtime builds, into operators that all of them have.

TensorRT neither compares truth values nor clips integers; torch's floor division and clamp of lengths do both.
"""

from collections.abc import Sequence

import onnx_ir as ir

_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def make_portable(model: ir.Model) -> None:
    """Rewrite a graph in place; its results stay the same to the last bit.

    Args:
        model: with the dtype of every value.
    """
    for node in list(model.graph):
        data = node.inputs[0] if node.inputs else None
        if node.op_type == "Equal" and data is not None and data.dtype == ir.DataType.BOOL:
            _replace(model.graph, node, _equal(node))
        elif node.op_type == "Clip" and data is not None and data.dtype in _INTEGERS:
            _replace(model.graph, node, _clip(node))


def _equal(node: ir.Node) -> list[ir.Node]:
    differs = _like(node, "Xor", node.inputs)
    return [differs, _like(node, "Not", differs.outputs)]


def _clip(node: ir.Node) -> list[ir.Node]:
    nodes, value = [], node.inputs[0]
    for operator, bound in zip(("Max", "Min"), node.inputs[1:], strict=False):
        if bound is not None:
            nodes.append(_like(node, operator, [value, bound]))
            value = nodes[-1].outputs[0]
    return nodes or [_like(node, "Identity", [value])]


def _like(node: ir.Node, operator: str, inputs: Sequence[ir.Value | None]) -> ir.Node:
    """A node with the type of result and the place in the network of another."""
    made = ir.Node(
        "", operator, inputs, name=f"{node.name}_{operator.lower()}", metadata_props=dict(node.metadata_props)
    )
    made.outputs[0].name = f"{node.outputs[0].name}_{operator.lower()}"
    made.outputs[0].type, made.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    return made


def _replace(graph: ir.Graph, node: ir.Node, by: list[ir.Node]) -> None:
    """Put nodes in the place of one; the last one takes over its result, name included."""
    name = node.outputs[0].name
    graph.insert_before(node, by)
    node.outputs[0].replace_all_uses_with(by[-1].outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)
    by[-1].outputs[0].name = name
