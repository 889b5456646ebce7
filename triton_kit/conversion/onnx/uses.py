"""Which node of a graph makes a value, and which nodes read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from onnx import GraphProto, NodeProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import all_graphs, captured_names
from triton_kit.conversion.onnx.weight_files import is_apart

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


class Uses:
    """The makers and readers of values, as a graph is now.

    `fixed` are inputs and outputs of the graph, and what bodies of its nodes read.
    `weights` are constants of a float type, by name: those in files are left out.
    """

    def __init__(self, graph: GraphProto) -> None:
        inputs = {value.name for value in graph.input}
        outputs = {value.name for value in graph.output}
        self.fixed = inputs | outputs | captured_names(graph)
        self.weights = {
            tensor.name: tensor
            for tensor in graph.initializer
            if tensor.name not in inputs
            and tensor.data_type in FLOATS
            and not is_apart(tensor)
        }
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def maker(self, name: str, *op_types: str) -> NodeProto | None:
        """Return the node that makes a value; None if it is of no such operator."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in op_types else None

    def only_reader(self, name: str) -> NodeProto | None:
        """Return the one node that reads a value; None if anything else does."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in self.fixed else None


def rebuild(graph: GraphProto, replaced: Mapping[str, Sequence[NodeProto]]) -> None:
    """Put nodes in the place of others, by name; drop constants that none reads then.

    Constants that are inputs as well stay.
    """
    nodes = [node for old in graph.node for node in replaced.get(old.name, [old])]
    # Copies: the list that they are in is emptied first.
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    read = {value.name for value in graph.input}
    for inner in all_graphs(graph):
        read.update(value.name for value in inner.output)
        read.update(name for node in inner.node for name in node.input)
    made = {name for node in graph.node for name in node.output}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]
    for index in reversed(range(len(graph.value_info))):
        if graph.value_info[index].name not in made | read:
            del graph.value_info[index]
