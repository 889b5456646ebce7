"""Wrong graphs and harmless rewrites of any ONNX network, drawn from a seed.

A fault is what a broken pass, export or quantiser leaves: one thing is wrong, the graph
still runs. A rewrite computes the same up to the rounding of float32.
"""

import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
from onnx import helper as h
from onnx import numpy_helper as nh
from onnx import version_converter

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Sigmoid", "HardSigmoid", "Clip", "Tanh", "Erf", "HardSwish")
SIDED = ("Sub", "Div", "Concat")


class NoPlaceError(Exception):
    """The network has nothing that this fault could befall."""


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def weights_of(graph):
    return {t.name: t for t in graph.initializer}


def pick(rng, found):
    if not found:
        raise NoPlaceError
    return found[rng.integers(len(found))]


def change(tensor, function):
    values = nh.to_array(tensor).copy()
    tensor.CopyFrom(nh.from_array(function(values).astype(values.dtype), tensor.name))


def heavy(graph, least_rank=2):
    weights = weights_of(graph)
    return [
        (node, weights[node.input[1]])
        for node in graph.node
        if node.op_type in HEAVY
        and node.input[1] in weights
        and len(weights[node.input[1]].dims) >= least_rank
    ]


def channel_axis(node):
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if transposed else -1


def at_channel(rng, node, function):
    def changed(values):
        moved = np.moveaxis(values, channel_axis(node), 0)
        index = rng.integers(len(moved))
        moved[index] = function(moved[index])
        return values

    return changed


def channel_zeroed(graph, rng):
    node, weight = pick(rng, heavy(graph))
    change(weight, at_channel(rng, node, lambda v: v * 0))


def channel_doubled(graph, rng):
    node, weight = pick(rng, heavy(graph))
    change(weight, at_channel(rng, node, lambda v: v * 2))


def scale_doubled(graph, rng):
    change(pick(rng, heavy(graph))[1], lambda v: v * 2)


def channels_rolled(graph, rng):
    """A head whose outputs are in another order."""
    node, weight = pick(rng, heavy(graph)[-4:])
    change(weight, lambda v: np.roll(v, 1, channel_axis(node)))


def weight_transposed(graph, rng):
    square = [w for _, w in heavy(graph) if w.dims[-1] == w.dims[-2] > 1]
    change(pick(rng, square), lambda v: np.swapaxes(v, -1, -2))


def weights_exchanged(graph, rng):
    found = [w for _, w in heavy(graph)]
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i] if a.dims == b.dims]
    a, b = pick(rng, [p for p in pairs if p[0].name != p[1].name])
    ours, theirs = nh.to_array(a), nh.to_array(b)
    change(a, lambda _: theirs)
    change(b, lambda _: ours)


def weight_noisy(graph, rng):
    def noisy(values):
        return values * (1 + 0.02 * rng.standard_normal(values.shape))

    change(pick(rng, heavy(graph))[1], noisy)


def bias_lost(graph, rng):
    weights = weights_of(graph)
    read = {n.input[2] for n in graph.node if n.op_type in HEAVY and len(n.input) > 2}
    read |= {x for n in graph.node if n.op_type == "Add" for x in n.input}
    found = [w for n, w in weights.items() if n in read and np.prod(w.dims) > 1]
    change(pick(rng, found), lambda v: v * 0)


def activation_lost(graph, rng):
    node = pick(rng, [n for n in graph.node if n.op_type in ACTIVATIONS])
    name, out = node.input[0], node.output[0]
    node.CopyFrom(h.make_node("Identity", [name], [out], name=node.name))


def branch_swapped(graph, rng):
    node = pick(rng, [n for n in graph.node if n.op_type in SIDED and len(n.input) > 1])
    first, second = node.input[0], node.input[1]
    node.input[0], node.input[1] = second, first


def padding_shifted(graph, rng):
    def pads(node):
        return next(
            (a for a in node.attribute if a.name == "pads" and any(a.ints)), None
        )

    node = pick(rng, [n for n in graph.node if n.op_type == "Conv" and pads(n)])
    found = list(pads(node).ints)
    half = len(found) // 2
    totals = [a + b for a, b in zip(found[:half], found[half:], strict=True)]
    shifted = [0] * half + totals
    pads(node).ints[:] = shifted if shifted != found else totals + [0] * half


def constant_changed(graph, rng):
    """A factor or a limit that is a tenth larger; an epsilon may be that, unnoticed."""
    constants = [
        t
        for t in graph.initializer
        if t.data_type == 1
        and np.prod(t.dims) == 1
        and abs(float(nh.to_array(t).ravel()[0])) > 1e-3
    ]
    change(pick(rng, constants), lambda v: v * 1.1)


def value_shifted(graph, rng):
    """A zero point that is off: one value inside is shifted by 2 % of its weight."""
    node, weight = pick(rng, heavy(graph))
    out = node.output[0]
    step = 0.02 * float(np.abs(nh.to_array(weight)).max()) + 1e-3
    raw = f"{out}_before_shift"
    node.output[0] = raw
    graph.initializer.append(nh.from_array(np.float32(step), f"{out}_step"))
    place = list(graph.node).index(node) + 1
    graph.node.insert(place, h.make_node("Add", [raw, f"{out}_step"], [out]))


FAULTS = (
    channel_zeroed,
    channel_doubled,
    scale_doubled,
    channels_rolled,
    weight_transposed,
    weights_exchanged,
    weight_noisy,
    bias_lost,
    activation_lost,
    branch_swapped,
    padding_shifted,
    constant_changed,
    value_shifted,
)


def faults(model, seed):
    """Yield (name, model) without end, each fault of the list in turn."""
    rng = np.random.default_rng(seed)
    while True:
        for fault in FAULTS:
            copy = copied(model)
            try:
                fault(copy.graph, rng)
            except NoPlaceError:
                continue
            yield fault.__name__, copy


def folded(model, _rng):
    return onnxslim.slim(copied(model))


def reordered(model, rng):
    """Any other order in which every value is made before it is read."""
    copy = copied(model)
    graph = copy.graph
    made = {t.name for t in (*graph.initializer, *graph.input)} | {""}
    waiting, done = list(graph.node), []
    while waiting:
        ready = [n for n in waiting if needs(n) <= made]
        node = ready[rng.integers(len(ready))]
        waiting.remove(node)
        done.append(copy_node(node))
        made.update(node.output)
    del graph.node[:]
    graph.node.extend(done)
    return copy


def needs(node):
    found = set(node.input)
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else []:
            inside = {o for n in body.node for o in n.output}
            inside |= {t.name for t in (*body.initializer, *body.input)}
            found |= {x for n in body.node for x in needs(n)} - inside
            found |= {o.name for o in body.output} - inside
    return found


def copy_node(node):
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def identities(model, rng):
    copy = copied(model)
    graph = copy.graph
    for node in [n for n in graph.node if rng.random() < 0.3 and n.output[0]]:
        out = node.output[0]
        node.output[0] = f"{out}_inside"
        place = list(graph.node).index(node) + 1
        graph.node.insert(place, h.make_node("Identity", [node.output[0]], [out]))
    return copy


def scaled_and_back(model, _rng):
    """Weights three times as large, and what they make a third: other rounding."""
    copy = copied(model)
    graph = copy.graph
    readers = [x for n in graph.node for x in n.input]
    graph.initializer.append(nh.from_array(np.float32(3), "three_times"))
    for node, weight in heavy(graph):
        if readers.count(weight.name) > 1 or (len(node.input) > 2 and node.input[2]):
            continue
        change(weight, lambda v: v * np.float32(3))
        out = node.output[0]
        node.output[0] = f"{out}_thrice"
        place = list(graph.node).index(node) + 1
        third = h.make_node("Div", [node.output[0], "three_times"], [out])
        graph.node.insert(place, third)
    return copy


def products_split(model, _rng):
    """Every MatMul by a weight as a sum of two halves: float32 reassociated."""
    copy = copied(model)
    graph = copy.graph
    for index, (node, weight) in enumerate(heavy(graph)):
        values = nh.to_array(weight)
        if node.op_type != "MatMul" or values.ndim != 2 or len(values) < 2:
            continue
        mask = (np.arange(len(values)) % 2).astype(np.float32)[:, None]
        parts = []
        for part, kept in enumerate((mask, 1 - mask)):
            name = f"{weight.name}_part_{index}_{part}"
            graph.initializer.append(nh.from_array(values * kept, name))
            parts.append(
                h.make_node("MatMul", [node.input[0], name], [f"{name}_product"])
            )
        total = h.make_node("Add", [p.output[0] for p in parts], list(node.output))
        place = list(graph.node).index(node)
        graph.node.remove(node)
        for new in reversed([*parts, total]):
            graph.node.insert(place, new)
    return copy


def weights_as_constants(model, _rng):
    copy = copied(model)
    graph = copy.graph
    nodes = [
        h.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in graph.initializer
    ]
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    nodes += map(copy_node, graph.node)
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    return copy


def negated_twice(model, rng):
    copy = copied(model)
    graph = copy.graph
    for node in [n for n in graph.node if n.op_type in HEAVY and rng.random() < 0.5]:
        out = node.output[0]
        node.output[0] = f"{out}_inside"
        place = list(graph.node).index(node) + 1
        graph.node.insert(place, h.make_node("Neg", [f"{out}_minus"], [out]))
        minus = h.make_node("Neg", [node.output[0]], [f"{out}_minus"])
        graph.node.insert(place, minus)
    return copy


def fused(model, _rng):
    """As ONNX Runtime fuses it: Conv with BatchNormalization, Add and the like."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/fused.onnx"
        ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load(options.optimized_model_filepath)


def opset_raised(model, _rng):
    now = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return version_converter.convert_version(model, max(18, now))


REWRITES = (
    fused,
    opset_raised,
    folded,
    reordered,
    identities,
    scaled_and_back,
    products_split,
    weights_as_constants,
    negated_twice,
)
