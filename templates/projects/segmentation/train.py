"""Train the segmentation network, write `organs.onnx`, `data/` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript
    python train.py

A small U-Net learns from tiles of 40 made volumes. 20 other volumes score it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from phantoms import HELD_BACK, LESION, ORGAN, SIDE, dice, volume
from tiling import TILE, cut, join
from torch import nn

SEED = 0
VOLUMES = 40
STEPS = 700
BATCH = 12
HERE = Path(__file__).parent
WIDTHS = (8, 16, 32, 48)


class Network(nn.Module):
    """A U-Net: float32 (batch, 1, 128, 128) -> classes int32 (batch, 128, 128)."""

    def __init__(self) -> None:
        super().__init__()
        ins = (1, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(*_block(i, o), *_block(o, o))
            for i, o in zip(ins, WIDTHS, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 2, stride=2)
            for i, o in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.joined = nn.ModuleList(
            nn.Sequential(*_block(2 * o, o)) for o in WIDTHS[-2::-1]
        )
        self.last = nn.Conv2d(WIDTHS[0], 3, 1)

    def scores(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return a score for each class and pixel."""
        now = tiles.clamp(-200, 300) / 100
        kept = []
        for at, block in enumerate(self.down):
            now = block(now if at == 0 else nn.functional.max_pool2d(now, 2))
            kept.append(now)
        for up, block, skipped in zip(self.up, self.joined, kept[-2::-1], strict=True):
            now = block(torch.cat([up(now), skipped], 1))
        scores: torch.Tensor = self.last(now)
        return scores

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the class of each pixel."""
        return self.scores(tiles).argmax(1).int()


def _block(wide: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(wide, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]


def train(draw: np.random.Generator) -> Network:
    """Fit the network to random tiles, half of them around a lesion."""
    units, classes = zip(*(volume(number) for number in range(VOLUMES)), strict=True)
    pictures, truth = np.concatenate(units), np.concatenate(classes)
    lesions = np.argwhere(truth == LESION)
    model = Network()
    weights = torch.tensor([1.0, 2.0, 4.0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for step in range(STEPS):
        tiles, wanted = [], []
        for number in range(BATCH):
            if number % 2:
                at, *middle = lesions[draw.integers(len(lesions))]
                corner = np.array(middle) - draw.integers(16, TILE - 16, 2)
            else:
                at, corner = draw.integers(len(pictures)), draw.integers(0, SIDE, 2)
            top, left = corner.clip(0, SIDE - TILE)
            turn = draw.integers(4)
            for found, source in ((tiles, pictures), (wanted, truth)):
                tile = source[at, top : top + TILE, left : left + TILE]
                found.append(np.rot90(tile, turn).copy())
        scores = model.scores(torch.from_numpy(np.stack(tiles)[:, None]).float())
        labels = torch.from_numpy(np.stack(wanted)).long()
        loss = nn.functional.cross_entropy(scores, labels, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            sys.stdout.write(f"step {step} of {STEPS}: loss {loss:.3f}\n")
            sys.stdout.flush()
    return model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, TILE, TILE),),
        input_names=["tiles"],
        output_names=["classes"],
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
    """Train, export, score the held-back volumes."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = train(np.random.default_rng(SEED))
    export(model, HERE / "organs.onnx")
    units, _ = volume(0)
    some = cut(units[1])[[6, 7, 8, 11, 12, 13]]
    np.savez_compressed(HERE / "data" / "verify.npz", tiles=some)
    session = onnxruntime.InferenceSession(str(HERE / "organs.onnx"))
    held_back, _ = volume(HELD_BACK)
    part = held_back[1, 170:330, 110:300]
    [labels] = session.run(None, {"tiles": cut(part)})
    mask = join(labels, part.shape)
    np.savez_compressed(HERE / "samples" / "part.npz", slice=part)
    np.savez_compressed(HERE / "samples" / "mask.npz", mask=mask)
    found, truth = [], []
    for number in range(20):
        units, classes = volume(HELD_BACK + number)
        for one in units:
            [labels] = session.run(None, {"tiles": cut(one)})
            found.append(join(labels, one.shape))
        truth.append(classes)
    masks, classes = np.stack(found), np.concatenate(truth)
    for label, name in ((ORGAN, "organ"), (LESION, "lesions")):
        sys.stdout.write(f"Dice of {name}: {dice(masks, classes, label):.3f}\n")


if __name__ == "__main__":
    main()
