"""Writes the seeds that are made by programs; the others were written by hand."""

import io
import sys
from pathlib import Path

import hpack
import numpy as np
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2

from triton_kit.loadtest.http.grpc_status import framed
from triton_kit.loadtest.http.http2_frames import FrameType, frame, settings

HERE = Path(__file__).parent / "corpus"


def write(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def main():
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    start = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    end = encoder.encode([("grpc-status", "0")])
    bad = encoder.encode([("grpc-status", "14"), ("grpc-message", "not%20ready")])
    response = service_pb2.ModelInferResponse(model_name="m")
    response.outputs.add(name="y", datatype="FP32", shape=[2])
    response.raw_output_contents.append(np.ones(2, np.float32).tobytes())
    strings = service_pb2.ModelInferResponse()
    strings.outputs.add(name="s", datatype="BYTES", shape=[1])
    strings.raw_output_contents.append(b"\3\0\0\0abc")
    message = framed(response.SerializeToString())
    stream = service_pb2.ModelStreamInferResponse(infer_response=strings)
    write("grpc", "unary", message)
    write("grpc", "strings", framed(strings.SerializeToString()))
    write("grpc", "stream", framed(stream.SerializeToString()) * 2)
    whole = (
        settings({})
        + frame(FrameType.HEADERS, 4, 1, start)
        + frame(FrameType.DATA, 0, 1, message)
        + frame(FrameType.HEADERS, 5, 1, end)
        + frame(FrameType.PING, 0, 0, bytes(8))
        + frame(FrameType.HEADERS, 5, 3, bad)
        + frame(FrameType.RST_STREAM, 0, 5, bytes(4))
        + frame(FrameType.GOAWAY, 0, 0, bytes(8))
    )
    write("http2", "whole", b"\0" + whole)
    write("http2", "pieces", b"\7" + whole)
    one = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4])]
        for n in "xy"
    ]
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", *ends, [one]))
    model.metadata_props.add(key="task", value="digits")
    write("onnx", "mul", model.SerializeToString())
    write("onnx", "plan", b"ftrt" + bytes(20) + bytes([10, 5, 0, 18]))
    for name, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
        file = io.BytesIO()
        save(file, x=np.ones((2, 3), np.float32), s=np.array(["a", "bc"]))
        write("npz", name, file.getvalue())


if __name__ == "__main__":
    sys.exit(main())
