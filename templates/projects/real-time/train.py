"""Train the network that finds the ball: `track.onnx`, `data/` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript
    python train.py

The frames are made (`frames.py`); those that score have another seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from frames import SIZE, frames
from torch import nn

SEED = 0
FRAMES, STEPS, BATCH = 3000, 500, 32
HELD_BACK, KEPT = 300, 60
HERE = Path(__file__).parent


class Track(nn.Module):
    """Convolutions and the centre of what they find.

    uint8 (batch, 1, 96, 96) -> centre float32 (batch, 2) in pixels: column, row.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, out, stride in ((1, 16, 2), (16, 24, 2), (24, 32, 1), (32, 32, 1)):
            layers += [nn.Conv2d(wide, out, 5, stride=stride, padding=2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(32, 1, 1))
        places = torch.arange(SIZE // 4) * 4.0 + 1.5
        self.register_buffer("places", places)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Return the mean place, weighted by how much it looks like the ball."""
        heat = self.layers(frame.float() / 255 - 0.5).flatten(1).softmax(1)
        heat = heat.view(-1, SIZE // 4, SIZE // 4)
        columns = (heat.sum(1) * self.places).sum(1)
        rows = (heat.sum(2) * self.places).sum(1)
        return torch.stack([columns, rows], 1)


def train(model: Track) -> None:
    """Fit the network to frames of the training's seed."""
    pixels, centres = map(torch.from_numpy, frames(SEED, FRAMES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    for _ in range(STEPS):
        at = torch.randint(FRAMES, (BATCH,))
        loss = (model(pixels[at]) - centres[at]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def export(model: Track, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8),),
        input_names=["frame"],
        output_names=["centre"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
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
    """Train, export, score new frames."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = Track()
    train(model)
    export(model.eval(), HERE / "track.onnx")
    pixels, centres = frames(SEED + 1, HELD_BACK)
    with torch.no_grad():
        found = model(torch.from_numpy(pixels)).numpy()
    missed = np.hypot(*(found - centres).T)
    sys.stdout.write(
        f"{HELD_BACK} held-back frames: {missed.mean():.2f} pixels off on average, "
        f"{(missed < 3).mean():.3f} of them less than 3\n"
    )
    np.savez_compressed(
        HERE / "data" / "test.npz", frame=pixels[:KEPT], centre=centres[:KEPT]
    )
    np.savez_compressed(HERE / "samples" / "frames.npz", frame=pixels[:16])
    np.savez_compressed(HERE / "samples" / "one.npz", frame=pixels[:1])
    sys.stdout.write(f"the first one: {np.round(found[0], 1).tolist()}\n")


if __name__ == "__main__":
    main()
