"""Make `vad.onnx` of Silero VAD, and `samples/` and `data/` of its own test file.

The kit ships the results; this script is how to get them again:

    pip download --no-deps --no-binary :all: silero-vad==6.2.3
    pip install silero-vad==6.2.3 onnx==1.23.2 onnxruntime torch==2.13.0
    python make_model.py silero_vad-6.2.3.tar.gz

Silero VAD is MIT-licensed (LICENSE-silero-vad). The package's file for 16 kHz computes
many chunks of one stream; `vad.onnx` computes one chunk of many streams, and has the
last 64 samples of a stream as a state too. Its weights are stored as float16, which
halves the file; all computing is float32. `data/expected.npz` has what the package
itself returns.
"""

from __future__ import annotations

import sys
import tarfile
import wave
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from silero_vad import VADIterator, load_silero_vad

HERE = Path(__file__).parent
RATE, CHUNK, CONTEXT, HIDDEN = 16_000, 512, 64, 128
FIRST_S, SECONDS = 2, 8
SMALL = 1000  # values: weights below are not worth a cast


def make() -> onnx.ModelProto:
    """Turn the network around: streams on the first axis of every tensor."""
    source = onnx.load(str(files("silero_vad.data") / "silero_vad_16k_sequence.onnx"))
    graph = source.graph
    nodes = list(graph.node)
    for node in nodes:
        for at, name in enumerate(node.input):
            node.input[at] = {"input": "heard", "h": "h_1", "c": "c_1"}.get(name, name)
        if node.op_type == "LSTM":  # steps, batch: one step of many streams
            [of_lstm] = [n for n in nodes if n.output[0] == node.input[0]]
            of_lstm.attribute[0].ints[:] = [2, 0, 1]
            node.output[1:] = ["hn_1", "cn_1"]
    nodes[-1].output[0] = "probabilities"
    constants = {"first": [0], "tail": [-CONTEXT], "end": [2**31], "axis": [1]}
    constants["column"] = [-1, 1]
    given = [
        helper.make_node("Concat", ["context", "audio"], ["heard"], axis=1),
        helper.make_node("Unsqueeze", ["h", "first"], ["h_1"]),
        helper.make_node("Unsqueeze", ["c", "first"], ["c_1"]),
    ]
    made = [
        helper.make_node("Reshape", ["probabilities", "column"], ["probability"]),
        helper.make_node("Squeeze", ["hn_1", "first"], ["next_h"]),
        helper.make_node("Squeeze", ["cn_1", "first"], ["next_c"]),
        helper.make_node("Slice", ["heard", "tail", "end", "axis"], ["next_context"]),
    ]
    casts, weights = small_weights(graph.initializer)
    weights += [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in constants.items()
    ]
    inputs = {"audio": CHUNK, "context": CONTEXT, "h": HIDDEN, "c": HIDDEN}
    outputs = {"probability": 1, "next_context": CONTEXT}
    outputs |= {"next_h": HIDDEN, "next_c": HIDDEN}
    model = helper.make_model(
        helper.make_graph(
            [*casts, *given, *nodes, *made],
            "silero_vad_16k",
            [tensor(*item) for item in inputs.items()],
            [tensor(*item) for item in outputs.items()],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 16)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def tensor(name: str, size: int) -> onnx.ValueInfoProto:
    """Return float32, shape (streams, size)."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["streams", size])


def small_weights(
    weights: list[onnx.TensorProto],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Store large weights as float16, with a cast back to float32."""
    casts, stored = [], []
    for weight in weights:
        values = numpy_helper.to_array(weight)
        if values.size < SMALL:
            stored.append(weight)
            continue
        half = f"{weight.name}.float16"
        stored.append(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [weight.name], to=1))
    return casts, stored


def read(archive: str) -> np.ndarray:
    """Return a part of the package's test file, int16, shape (chunks, 512)."""
    with tarfile.open(archive) as packed:
        [name] = [n for n in packed.getnames() if n.endswith("tests/data/test.wav")]
        with wave.open(packed.extractfile(name)) as audio:
            audio.readframes(FIRST_S * RATE)
            samples = np.frombuffer(audio.readframes(SECONDS * RATE), np.int16)
    return samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)


def expected(chunks: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the package says of each chunk: probabilities and events."""
    network = load_silero_vad(onnx=True)
    audio = torch.from_numpy(chunks.astype(np.float32) / 32768)
    probabilities = [network(chunk, RATE).item() for chunk in audio]
    iterator, events = VADIterator(network), []  # it resets the network
    for chunk in audio:
        found = iterator(chunk) or {}
        events += [f"{kind} {at / RATE:.2f}" for kind, at in found.items()] or [""]
    return {"probability": np.float32(probabilities), "event": np.array(events, "S12")}


def main() -> None:
    """Write the model, the samples, and what the package says of them."""
    onnx.save(make(), HERE / "vad.onnx")
    chunks = read(sys.argv[1])
    with wave.open(str(HERE / "samples" / "speech.wav"), "wb") as audio:
        audio.setparams((1, 2, RATE, 0, "NONE", ""))
        audio.writeframes(chunks.tobytes())
    wanted = expected(chunks)
    np.savez_compressed(HERE / "data" / "expected.npz", **wanted)
    rates = np.full((len(chunks), 1), RATE, np.int32)
    load = {"samples": chunks[:60], "sample_rate": rates[:60]}
    np.savez_compressed(HERE / "samples" / "speech.npz", **load)
    silence = {"samples": np.zeros((1, CHUNK), np.int16), "sample_rate": rates[:1]}
    np.savez_compressed(HERE / "samples" / "silence.npz", **silence)
    named = [event.decode() for event in wanted["event"] if event]
    sys.stdout.write(f"events: {', '.join(named)}\n")


if __name__ == "__main__":
    main()
