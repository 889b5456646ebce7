"""A model's config beside its graph: what to fill in, and where the two disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxruntime_graph import DATA_TYPES, Graph, GraphTensor

# The server's own default of --backend-config=default-max-batch-size.
DEFAULT_MAX_BATCH_SIZE = 4


def complete(config: dict, graph: Graph) -> None:
    """Fill in inputs, outputs, max_batch_size and the batcher, where they are left out.

    Raises:
        ValueError: the config wants batches of a graph that has no batch axis.
    """
    for tensor in (*graph.inputs.values(), *graph.outputs.values()):
        if tensor.data_type not in DATA_TYPES.values():
            message = f"tensor {tensor.name!r} is a {tensor.data_type}: Triton has none"
            raise ValueError(message)
    _complete_batching(config, graph)
    for key, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        if not config[key]:
            batched = config["max_batch_size"] > 0
            config[key] = [_entry(t, batched=batched) for t in tensors.values()]


def _complete_batching(config: dict, graph: Graph) -> None:
    if not graph.has_batch_axis:
        if config["max_batch_size"] > 0:
            size = config["max_batch_size"]
            fixed = [
                f"{t.name} {list(t.shape)}"
                for t in (*graph.inputs.values(), *graph.outputs.values())
                if t.shape[:1] != (-1,)
            ]
            message = (
                f"max_batch_size is {size}, but the graph has no batch axis: "
                f"the first axis does not vary in {', '.join(fixed)}"
            )
            raise ValueError(message)
        return
    if config["max_batch_size"] == 0:
        config["max_batch_size"] = DEFAULT_MAX_BATCH_SIZE
    if config["max_batch_size"] > 1 and "sequence_batching" not in config:
        config.setdefault("dynamic_batching", {})


def _entry(tensor: GraphTensor, *, batched: bool) -> dict:
    dims = list(tensor.shape[1:] if batched else tensor.shape)
    entry: dict = {"name": tensor.name, "data_type": tensor.data_type}
    if not dims and batched:
        # A config cannot say "no axes" but by this detour.
        entry["reshape"] = {"shape": []}
    return entry | {"dims": dims or [1]}


def not_supported(config: dict, graph: Graph) -> Iterator[str]:
    """Say what the C++ backend does with such a model, and this one does not."""
    texts = [t.name for t in graph.feeds.values() if t.data_type == "TYPE_STRING"]
    tensors = (*graph.feeds.values(), *graph.outputs.values())
    words = [t.name for t in tensors if t.data_type == "TYPE_BF16"]
    if texts and words:
        # Each needs a form of value that onnxruntime's Python interface (1.31) has
        # for the other not.
        yield (
            f"string inputs ({', '.join(texts)}) beside bfloat16 tensors "
            f"({', '.join(words)}) are not supported on the embedded server"
        )
    for key in ("batch_input", "batch_output"):
        if config.get(key):
            yield f"{key} is not supported on the embedded server"
    if config.get("sequence_batching", {}).get("state"):
        yield "sequence_batching.state is not supported on the embedded server"
    for entry in config["input"]:
        if entry.get("allow_ragged_batch"):
            name = entry["name"]
            yield f"input {name!r}: ragged batches are not supported on this server"


def mismatches(config: dict, graph: Graph) -> Iterator[str]:
    """Say, tensor by tensor, where config and graph differ."""
    controls = _control_inputs(config)
    given = {entry["name"] for entry in config["input"]}
    for name in graph.inputs:
        if name not in given and name not in controls:
            yield f"input {name!r} is in the graph, but not in the config"
    batched = config["max_batch_size"] > 0
    for kind, tensors in (("input", graph.feeds), ("output", graph.outputs)):
        for entry in config[kind]:
            yield from _mismatch(kind, entry, tensors, batched=batched)


def _mismatch(
    kind: str, entry: dict, tensors: dict[str, GraphTensor], *, batched: bool
) -> Iterator[str]:
    tensor = tensors.get(entry["name"])
    what = f"{kind} {entry['name']!r}"
    if tensor is None:
        has = ", ".join(tensors) or "none"
        yield f"{what} is in the config, but not in the graph; its {kind}s: {has}"
        return
    if entry["data_type"] != tensor.data_type:
        yield (
            f"{what}: the config says {entry['data_type']}, "
            f"the graph says {tensor.data_type}"
        )
    # The server writes numbers of 64 bits as strings in JSON.
    shaped = entry["reshape"].get("shape", []) if "reshape" in entry else entry["dims"]
    dims = [int(size) for size in shaped]
    if not _fits(dims, tensor.shape, batched=batched):
        whole = f"{dims} behind the batch axis" if batched else f"{dims}"
        yield f"{what}: the config says {whole}, the graph says {list(tensor.shape)}"


def _fits(dims: Sequence[int], shape: Sequence[int], *, batched: bool) -> bool:
    if not shape:  # no axes: the config writes them as ones
        return not batched and all(size == 1 for size in dims)
    if batched:
        if shape[0] != -1:
            return False
        shape = shape[1:]
    return len(dims) == len(shape) and all(
        graph_size in (-1, size) for size, graph_size in zip(dims, shape, strict=True)
    )


def _control_inputs(config: dict) -> set[str]:
    controls = config.get("sequence_batching", {}).get("control_input", [])
    return {control["name"] for control in controls}
