"""Write the tracker, `track.onnx`, and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript pillow
    python make.py

The tracker has no weights. It keeps the background of its camera as state: an average
of past frames. What differs from it moves.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from footage import HEIGHT, WIDTH, footage
from torch import nn

LEARNED = 0.05  # share of a frame that goes into the background
DIFFERENT = 0.12  # of the range of a pixel, after averaging 3x3 pixels
HERE = Path(__file__).parent


class Track(nn.Module):
    """A frame and the state of its camera -> what moves, and the next state.

    frame float32 (batch, 3, 96, 128), number int64 (batch, 1), background like frame,
    counts int64 (batch, 3): frames seen, the number of the last one, and dropped ones.
    """

    def forward(
        self,
        frame: torch.Tensor,
        number: torch.Tensor,
        background: torch.Tensor,
        counts: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return box, moving, dropped, and the next background and counts."""
        seen, last, dropped = counts[:, 0:1], counts[:, 1:2], counts[:, 2:3]
        is_first = seen == 0
        background = torch.where(is_first[..., None, None], frame, background)
        change = frame - background
        light = change.mean((2, 3), keepdim=True)
        different = nn.functional.avg_pool2d(change - light, 3, 1, 1).abs().amax(1)
        moves = (different > DIFFERENT).float()
        learned = LEARNED * (1 - 0.9 * moves[:, None])
        missing = torch.where(is_first, 0, (number - last - 1).clamp(0))
        counts = torch.cat(
            [seen + 1, torch.maximum(last, number), dropped + missing], 1
        )
        share = moves.mean((1, 2))[:, None]
        return box(moves), share, counts[:, 2:3], background + learned * change, counts


def box(moves: torch.Tensor) -> torch.Tensor:
    """Return left, top, right, bottom of what is 1 in (batch, 96, 128); or zeros."""
    sides = []
    for axis, length in ((1, WIDTH), (2, HEIGHT)):
        is_hit = moves.amax(axis)
        at = torch.arange(length, dtype=torch.float32)
        low = torch.where(is_hit > 0, at, float(length)).amin(1)
        high = (is_hit * (at + 1)).amax(1)
        sides += [torch.minimum(low, high), high]
    return torch.stack([sides[0], sides[2], sides[1], sides[3]], 1)


def export(path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    # The exporter takes one tensor for one input, so each input has its own.
    pictures = [torch.zeros(2, 3, HEIGHT, WIDTH) for _ in range(2)]
    numbers = [torch.zeros(2, size, dtype=torch.int64) for size in (1, 3)]
    program = torch.onnx.export(
        Track().eval(),
        (pictures[0], numbers[0], pictures[1], numbers[1]),
        input_names=["frame", "number", "background", "counts"],
        output_names=["box", "moving", "dropped", "next_background", "next_counts"],
        dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in range(4)),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    exported = program.model_proto
    for item in (*exported.graph.node, *exported.graph.input, *exported.graph.output):
        del item.metadata_props[:]
    del exported.graph.metadata_props[:], exported.metadata_props[:]
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def main() -> None:
    """Export, and write what the load sends: a stream of 40 frames."""
    export(HERE / "track.onnx")
    frames = [file for file, _ in footage(0, 40)]
    stream = [
        {
            "picture": {"b64": as_element(file), "shape": [1]},
            "number": {"content": [number], "shape": [1]},
        }
        for number, file in enumerate(frames, 1)
    ]
    text = json.dumps({"data": [stream]}) + "\n"
    (HERE / "samples" / "frames.json").write_text(text)
    first = np.array([[frames[0]]], object).astype("S")
    np.savez(HERE / "samples" / "first.npz", picture=first, number=[[1]])


def as_element(file: bytes) -> str:
    """Return a string of a tensor as base64: its length, then its bytes."""
    return base64.b64encode(len(file).to_bytes(4, "little") + file).decode()


if __name__ == "__main__":
    main()
