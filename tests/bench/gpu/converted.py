"""`scripts/gpu bench --converted`: a converted ResNet-50 beside torch's eager mode.

All run in one process, with data on the GPU. torch runs the network as written for
it, with a batch normalisation behind each convolution; the kit's source has them folded
into the weights, as any exporter does.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from resnet50 import SIZE, resnet50

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.options.shapes import ShapeRange

BATCHES = (1, 16, 64)
PRECISIONS = ("fp32", "fp16", "bf16")
# Of the CUDA provider. Its default for the search, EXHAUSTIVE, pays off where
# the batch size stays. TF32 is allowed, as it is in convolutions of torch.
SETTINGS = {"": {}, " NHWC": {"prefer_nhwc": "1"}}
_WARM_UP, _MEASURED_S = 10, 1.5


def median_ms(run):
    """Return the median time of a run that waits for the GPU."""
    for _ in range(_WARM_UP):
        run()
    ends_s, times = time.perf_counter() + _MEASURED_S, []
    while time.perf_counter() < ends_s:
        began_s = time.perf_counter()
        run()
        times.append(time.perf_counter() - began_s)
    return round(1e3 * float(np.median(times)), 3)


def converted(source, precision, folder):
    """Convert the source; return the artifact and what the gate said of the GPU."""
    rows = (3, SIZE, SIZE)
    shapes = ShapeRange(min=(1, *rows), opt=(2, *rows), max=(4, *rows))
    result = convert(
        ConvertSpec(
            source=source,
            output=folder / precision / "model.onnx",
            profiles=({"x": shapes},),
            precision=precision,
            device="gpu",
        )
    )
    notes = [note for note in result.accuracy.notes if "GPU" in note]
    return result.artifact, notes, dict(result.kept_fp32)


def onnxruntime_ms(path, batch, settings):
    """Return the median time of ONNX Runtime's CUDA provider."""
    providers = [("CUDAExecutionProvider", settings), "CPUExecutionProvider"]
    session = ort.InferenceSession(str(path), providers=providers)
    x = np.random.default_rng(0).normal(size=(batch, 3, SIZE, SIZE))
    value = ort.OrtValue.ortvalue_from_numpy(x.astype(np.float32), "cuda", 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("y", "cuda")
    return median_ms(lambda: session.run_with_iobinding(binding))


def eager(model, dtype):
    """Return a function that runs the graph in torch's eager mode."""
    import torch
    from torch.nn import functional

    weights = {
        tensor.name: torch.tensor(numpy_helper.to_array(tensor)).cuda().to(dtype)
        for tensor in model.graph.initializer
    }
    norms = {
        node.name or node.output[0]: [
            make(len(weights[node.input[1]]), device="cuda", dtype=dtype)
            for make in (torch.zeros, torch.ones, torch.ones, torch.zeros)
        ]
        for node in model.graph.node
        if node.op_type == "Conv"
    }

    def conv(node, x, weight, bias):
        stride = onnx.helper.get_node_attr_value(node, "strides")
        pad = onnx.helper.get_node_attr_value(node, "pads")[:2]
        y = functional.conv2d(x, weight, bias, stride=stride, padding=pad)
        return functional.batch_norm(y, *norms[node.name or node.output[0]])

    operators = {
        "Conv": conv,
        "Relu": lambda _, x: functional.relu(x),
        "Add": lambda _, a, b: a + b,
        "MaxPool": lambda _, x: functional.max_pool2d(x, 3, 2, 1),
        "GlobalAveragePool": lambda _, x: functional.adaptive_avg_pool2d(x, 1),
        "Flatten": lambda _, x: x.flatten(1),
        "MatMul": lambda _, a, b: a @ b,
    }

    def run(x):
        values = weights | {"x": x.to(dtype)}
        with torch.inference_mode():
            for node in model.graph.node:
                inputs = [values[name] for name in node.input]
                values[node.output[0]] = operators[node.op_type](node, *inputs)
            torch.cuda.synchronize()
        return values["y"]

    return run


def torch_ms(model, dtype, batch):
    """Return the median time of torch's eager mode."""
    import torch

    run = eager(model, dtype)
    x = torch.randn(batch, 3, SIZE, SIZE, device="cuda")
    return median_ms(lambda: run(x))


def compare(out, say):
    """Measure everything; print a table and keep it as JSON."""
    import torch

    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    model = resnet50(half=False)
    result = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "onnxruntime": ort.__version__,
        "ms": {},
        "gate": {},
        "kept_fp32": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "resnet50.onnx"
        onnx.save(model, source)
        for precision in PRECISIONS:
            path, gate, kept = converted(source, precision, Path(folder))
            result["gate"][precision], result["kept_fp32"][precision] = gate, kept
            say(f"converted {precision}: {'; '.join(gate)}")
            for words, settings in SETTINGS.items():
                if words and precision != "fp16":
                    continue  # NHWC pays off in fp16 alone
                name = f"converted {precision}{words}"
                found = {b: onnxruntime_ms(path, b, settings) for b in BATCHES}
                result["ms"][name] = found
                say(f"{name}: ms by batch {found}")
    for dtype in (torch.float32, torch.float16):
        name = f"torch eager {str(dtype).removeprefix('torch.')}"
        result["ms"][name] = {b: torch_ms(model, dtype, b) for b in BATCHES}
        say(f"{name}: ms by batch {result['ms'][name]}")
    slow = result["ms"]["torch eager float32"]
    for words in SETTINGS:
        name = f"converted fp16{words}"
        fast = result["ms"][name]
        times = {b: round(slow[b] / fast[b], 2) for b in BATCHES}
        result.setdefault("times_as_fast", {})[name] = times
        say(f"{name} beside torch eager float32: {times} times as fast")
    (out / "converted.json").write_text(json.dumps(result, indent=1) + "\n")
