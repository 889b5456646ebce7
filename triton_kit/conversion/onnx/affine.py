"""A graph pass: constant scales and shifts become part of weights and biases.

Exporters leave `Conv, Mul, Add, Div` with constants, and each of them reads and writes
the whole value once more. ONNX Runtime folds a few such pairs as it loads a model, but
neither scalars nor chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from triton_kit.conversion.onnx.affine_chain import (
    Affine,
    Array,
    Dims,
    affine_node,
)
from triton_kit.conversion.onnx.affine_weights import (
    PRODUCTS,
    Folded,
    fold_after,
    fold_before,
)
from triton_kit.conversion.onnx.onnx_file import (
    all_graphs,
    inferred,
    name_nodes,
)
from triton_kit.conversion.onnx.uses import FLOATS, Uses, rebuild

_MOST_COPIED_BYTES = 1 << 20  # of a weight that other nodes read, too


def fold_affine(model: ModelProto) -> int:
    """Fold multiplications and additions of constants, in place.

    Constants are scalars, or have one number for each channel. Chains of them become
    part of the Conv, ConvTranspose, Gemm or MatMul before them, or else after them
    where that is exact; what neither takes is left as one Mul and one Add at most.
    Values that have several readers, outputs of the graph, bodies of control flow and
    weights in files of their own stay as they are.

    Returns:
        The number of nodes that are gone.
    """
    before = len(model.graph.node)
    name_nodes(model)
    if not any(node.op_type in PRODUCTS for node in model.graph.node):
        return 0
    shapes = _shapes(model)
    while _Fold(model.graph, shapes).run():
        pass
    return before - len(model.graph.node)


def _shapes(model: ModelProto) -> dict[str, Dims]:
    graph = inferred(model)
    found: dict[str, Dims] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and kind.elem_type in FLOATS:
            found[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in kind.shape.dim
            )
    return found


@dataclass(frozen=True, slots=True)
class _Chain:
    """Affine nodes, each the only reader of the one before; and all in one."""

    nodes: tuple[NodeProto, ...]
    source: str
    affine: Affine

    @property
    def end(self) -> str:
        return str(self.nodes[-1].output[0])


class _Fold:
    """One sweep over a graph, whose nodes have names of their own."""

    def __init__(self, graph: GraphProto, shapes: dict[str, Dims]) -> None:
        self._graph = graph
        self._shapes = shapes
        self._uses = Uses(graph)
        self._weights = self._uses.weights
        self._names = _names_in(graph)
        # By the name of a node: those that have changed, and what is in their place.
        self._changed: set[str] = set()
        self._replaced: dict[str, list[NodeProto]] = {}

    def run(self) -> bool:
        """Fold every chain once; say whether any was."""
        seen: set[str] = set()
        is_changed = False
        for node in self._graph.node:
            chain = None if node.name in seen else self._chain(node)
            if chain is not None:
                seen.update(link.name for link in chain.nodes)
                is_changed = self._fold(chain) or is_changed
        if is_changed:
            rebuild(self._graph, self._replaced)
        return is_changed

    def _chain(self, node: NodeProto) -> _Chain | None:
        """Return the longest chain that begins with a node."""
        first = affine_node(node, self._weights, self._shapes)
        if first is None:
            return None
        nodes, affine = [node], first.affine
        while (reader := self._uses.only_reader(nodes[-1].output[0])) is not None:
            following = affine_node(reader, self._weights, self._shapes)
            both = affine.then(following.affine) if following else None
            if both is None or not both.is_finite:
                break
            nodes.append(reader)
            affine = both
        return _Chain(tuple(nodes), first.source, affine)

    def _fold(self, chain: _Chain) -> bool:
        """Fold a chain where that leaves fewer nodes; say whether it did."""
        maker = self._uses.makers.get(chain.source)
        if maker is not None and maker.name in self._changed:
            return False  # until the next sweep: it may take this chain as well
        found = [self._into_product_before(chain), self._into_product_after(chain)]
        folds = [fold for fold in found if fold is not None]
        for product, folded in folds:
            if folded.left is None and self._apply(chain, product, folded):
                return True
        for product, folded in folds:
            if len(chain.nodes) > 1 and self._apply(chain, product, folded):
                return True
        rest = chain.affine.has_scale + chain.affine.has_shift
        if not 0 < rest < len(chain.nodes):
            return False
        return self._replace(chain, chain.affine)

    def _into_product_before(self, chain: _Chain) -> tuple[NodeProto, Folded] | None:
        maker = self._uses.makers.get(chain.source)
        if maker is None or self._uses.only_reader(chain.source) is None:
            return None
        folded = fold_after(maker, self._weights, chain.affine)
        return (maker, folded) if folded else None

    def _into_product_after(self, chain: _Chain) -> tuple[NodeProto, Folded] | None:
        reader = self._uses.only_reader(chain.end)
        if reader is None or reader.name in self._changed:
            return None
        if reader.input[0] != chain.end or _is_fused(chain.source, self._uses):
            return None
        folded = fold_before(reader, self._weights, chain.affine)
        return (reader, folded) if folded else None

    def _apply(self, chain: _Chain, product: NodeProto, folded: Folded) -> bool:
        """Give a product its new weights, and take the chain away."""
        new = self._new_values(product, folded)
        if new is None:
            return False
        if folded.left is not None and not self._replace(chain, folded.left):
            return False
        for slot, stored in new.items():
            self._set(product, slot, stored)
        self._changed.add(product.name)
        if folded.left is None:
            self._replaced |= {node.name: [] for node in chain.nodes}
            if chain.source in product.output:
                product.output[0] = chain.end
            else:
                product.input[0] = chain.source
        return True

    def _new_values(
        self, product: NodeProto, folded: Folded
    ) -> dict[int, Array] | None:
        """Return a product's new weight and bias by their input; None if it keeps them.

        The type of the graph may not hold them, or a large weight would be copied.
        """
        kind, found = self._weights[product.input[1]].data_type, {}
        for slot, values in ((1, folded.weight), (2, folded.bias)):
            if values is not None:
                found[slot] = _stored(values, kind)
        stored = {slot: values for slot, values in found.items() if values is not None}
        is_large = 1 in stored and stored[1].nbytes > _MOST_COPIED_BYTES
        is_copied = is_large and self._is_shared(product.input[1])
        return None if is_copied or len(stored) < len(found) else stored

    def _is_shared(self, name: str) -> bool:
        return len(self._uses.readers[name]) > 1 or name in self._uses.fixed

    def _set(self, product: NodeProto, slot: int, values: Array) -> None:
        """Let a node read other values; a constant that others read stays theirs."""
        while len(product.input) <= slot:
            product.input.append("")
        old = product.input[slot]
        if old and not self._is_shared(old):
            self._weights[old].CopyFrom(numpy_helper.from_array(values, old))
            return
        name = self._new_name(f"{old or product.name + '_bias'}_affine")
        product.input[slot] = name
        self._graph.initializer.append(numpy_helper.from_array(values, name))

    def _replace(self, chain: _Chain, affine: Affine) -> bool:
        """Put one Mul and one Add, as far as needed, in the place of a chain."""
        source = chain.source
        kind = next(
            self._weights[name].data_type
            for name in chain.nodes[0].input
            if name in self._weights
        )
        steps = [("Mul", affine.scale)] if affine.has_scale else []
        steps += [("Add", affine.shift)] if affine.has_shift else []
        stored = [(op_type, _stored(values, kind)) for op_type, values in steps]
        made: list[NodeProto] = []
        for (op_type, values), old in zip(
            stored, chain.nodes[-len(stored) :], strict=True
        ):
            if values is None:
                return False
            if values.ndim:
                assert affine.axis is not None  # its channels are along it
                values = values.reshape(-1, *(1,) * (-affine.axis - 1))
            constant = self._new_name(f"{chain.end}_{op_type.lower()}")
            self._graph.initializer.append(numpy_helper.from_array(values, constant))
            end = chain.end if old is chain.nodes[-1] else old.output[0]
            made.append(
                helper.make_node(op_type, [source, constant], [end], name=old.name)
            )
            source = end
        self._replaced |= {node.name: [] for node in chain.nodes}
        self._replaced[chain.nodes[-1].name] = made
        self._changed.update(node.name for node in chain.nodes)
        return True

    def _new_name(self, stem: str) -> str:
        name = next(
            name
            for number in count()
            if (name := f"{stem}_{number}" if number else stem) not in self._names
        )
        self._names.add(name)
        return name


def _is_fused(value: str, uses: Uses) -> bool:
    """Say whether runtimes fuse what makes a value with the constants after it.

    Half of `x * (1 + erf(x))` is a Gelu, `(x - mean) / deviation` begins a
    LayerNormalization: one kernel each, but only with their constants.
    """
    maker = uses.maker(value, "Div", "Mul")
    if maker is None or any(name in uses.weights for name in maker.input):
        return False
    if maker.op_type == "Div":
        return True
    adds = filter(None, (uses.maker(name, "Add") for name in maker.input))
    return any(uses.maker(name, "Erf", "Tanh") for add in adds for name in add.input)


def _stored(values: Array, kind: int) -> Array | None:
    """Return values in the graph's type; None if it cannot hold them."""
    with np.errstate(over="ignore"):
        stored: Array = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    return stored if np.isfinite(stored).all() else None


def _names_in(graph: GraphProto) -> set[str]:
    """Return all names of values, in the bodies of a graph as well."""
    found: set[str] = set()
    for inner in all_graphs(graph):
        found.update(value.name for value in (*inner.input, *inner.output))
        found.update(tensor.name for tensor in inner.initializer)
        for node in inner.node:
            found.update((*node.input, *node.output))
    return found
