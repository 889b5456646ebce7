"""Write a model of random weights, one weight in memory at a time; print its shape.

python make.py PATH MIB products|convolutions inside|beside
"""

import sys
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from triton_kit.wire import header

WIDE = 2048
CHANNELS = 512


def weights(path, count, shape, seed=0):
    """Write the weights to a file; yield tensors that name it."""
    rng = np.random.default_rng(seed)
    offset, fan_in = 0, int(np.prod(shape[1:]))
    with path.open("wb") as file:
        for index in range(count):
            values = rng.standard_normal(shape, np.float32) * np.float32(
                (2 / fan_in) ** 0.5
            )
            file.write(values.tobytes())
            tensor = TensorProto(name=f"w{index}", data_type=1, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": path.name, "offset": offset, "length": values.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            offset += values.nbytes
            yield tensor


def graph(kind, tensors):
    nodes = []
    for index, tensor in enumerate(tensors):
        name = f"x{index}"
        if kind == "products":
            nodes.append(helper.make_node("MatMul", [name, tensor.name], [f"p{index}"]))
        else:
            nodes.append(
                helper.make_node(
                    "Conv", [name, tensor.name], [f"p{index}"], pads=[1, 1, 1, 1]
                )
            )
        nodes.append(helper.make_node("Relu", [f"p{index}"], [f"x{index + 1}"]))
    shape = ["n", WIDE] if kind == "products" else ["n", CHANNELS, 14, 14]
    ends = [
        [helper.make_tensor_value_info(name, 1, shape)]
        for name in ("x0", f"x{len(tensors)}")
    ]
    return helper.make_graph(nodes, "large", *ends)


def inside(path, model, tensors, file):
    """Write one file: the weights go through in pieces."""
    parts = []
    for tensor in tensors:
        bare = TensorProto(name=tensor.name, data_type=1, dims=tensor.dims)
        place = {e.key: e.value for e in tensor.external_data}
        size = int(place["length"])
        head = bare.SerializeToString() + header(9, size)
        parts.append((header(5, len(head) + size) + head, int(place["offset"]), size))
    rest = model.graph.SerializeToString()
    model.ClearField("graph")
    total = len(rest) + sum(len(head) + size for head, _, size in parts)
    with path.open("wb") as to, file.open("rb") as source:
        to.write(model.SerializeToString() + header(7, total) + rest)
        for head, offset, size in parts:
            to.write(head)
            source.seek(offset)
            to.write(source.read(size))
    file.unlink()


def main(path, mib, kind, where):
    shape = (WIDE, WIDE) if kind == "products" else (CHANNELS, CHANNELS, 3, 3)
    count = max(1, mib * 2**20 // (4 * int(np.prod(shape))))
    file = path.with_name(path.name + ".data")
    tensors = list(weights(file, count, shape))
    model: ModelProto = helper.make_model(
        graph(kind, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    if where == "beside":
        model.graph.initializer.extend(tensors)
        path.write_bytes(model.SerializeToString())
    else:
        inside(path, model, tensors, file)
    sizes = (f"{count}x{WIDE}" for count in (1, 2, 4))
    if kind == "convolutions":
        sizes = (f"{count}x{CHANNELS}x14x14" for count in (1, 2, 4))
    sys.stdout.write(f"x0:{','.join(sizes)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
