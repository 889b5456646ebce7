"""ONNX files for tests: only what faces outwards matters, unless a graph is given."""

from onnx import TensorProto, helper

FLOAT, INT32, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)


def tensor_infos(tensors):
    """Return value infos of `{name: shape}` or `{name: (type, shape)}`."""
    return [
        helper.make_tensor_value_info(
            name, *(what if isinstance(what, tuple) else (FLOAT, what))
        )
        for name, what in tensors.items()
    ]


def onnx_bytes(inputs, outputs, *, defaults=(), nodes=(), ir_version=9):
    """Return an ONNX file; `defaults` are the inputs that have an initialiser."""
    infos = tensor_infos(inputs)
    initializers = [
        helper.make_tensor(
            info.name,
            info.type.tensor_type.elem_type,
            [max(d.dim_value, 1) for d in info.type.tensor_type.shape.dim],
            [0] * _size(info),
        )
        for info in infos
        if info.name in defaults
    ]
    graph = helper.make_graph(
        list(nodes), "g", infos, tensor_infos(outputs), initializers
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    return model.SerializeToString()


def _size(info):
    size = 1
    for dim in info.type.tensor_type.shape.dim:
        size *= max(dim.dim_value, 1)
    return size
