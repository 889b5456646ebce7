"""Turn the network of the recipe image-classification into one for a small machine.

The kit ships the results; this script is how to get them again:

    triton-kit new image-classification photos
    python prepare.py photos

The preprocessing becomes a part of the graph: a camera's pixels go in as they are, and
the server needs no Python model, whose process is larger than the network's memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import compose, parser

HERE = Path(__file__).parent
MEAN, STD = 0.45, 0.25  # of decode/pixels.py there
CALIBRATION, HELD_BACK = 32, 120
NORMALIZE = f"""
<ir_version: 10, opset_import: ["" : 18]>
normalize (uint8[batch, 64, 64, 3] pixels) => (float[batch, 3, 64, 64] planes)
<float[1] middle = {{{255 * MEAN}}}, float[1] deviation = {{{255 * STD}}}>
{{
  numbers = Cast <to = 1> (pixels)
  centred = Sub (numbers, middle)
  scaled = Div (centred, deviation)
  planes = Transpose <perm = [0, 3, 1, 2]> (scaled)
}}
"""


def with_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the preprocessing in front, and leave out what no server reads."""
    normalize = parser.parse_model(NORMALIZE)
    model.ir_version = normalize.ir_version
    name = model.graph.input[0].name
    whole = compose.merge_models(normalize, model, io_map=[("planes", name)])
    del whole.graph.value_info[:], whole.metadata_props[:], whole.opset_import[1:]
    for node in whole.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    onnx.checker.check_model(whole, full_check=True)
    return whole


def main() -> None:
    """Write `surfaces.onnx`, `labels.txt`, `data/` and `samples/`."""
    photos = Path(sys.argv[1])
    onnx.save(with_pixels(onnx.load(photos / "surfaces.onnx")), HERE / "surfaces.onnx")
    (HERE / "labels.txt").write_bytes((photos / "labels.txt").read_bytes())
    planes = np.load(photos / "data" / "calibration.npz")["image"][:CALIBRATION]
    pixels = ((planes * STD + MEAN) * 255).round().astype(np.uint8)
    pixels = pixels.transpose(0, 2, 3, 1)
    np.savez_compressed(HERE / "data" / "calibration.npz", pixels=pixels)
    test = np.load(photos / "data" / "test.npz")
    ends, labels = test["ends"][:HELD_BACK], test["label"][:HELD_BACK]
    np.savez_compressed(
        HERE / "data" / "test.npz",
        files=test["files"][: ends[-1]],
        ends=ends,
        label=labels,
    )
    photo = (photos / "samples" / "gravel.jpg").read_bytes()
    (HERE / "samples" / "gravel.jpg").write_bytes(photo)
    np.savez_compressed(HERE / "samples" / "gravel.npz", pixels=pixels[3:4])


if __name__ == "__main__":
    main()
