"""Train the detector, write `shapes.onnx`, `data/verify.npz` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript pillow
    python train.py

Each cell of a grid of 16x16 says how likely an object of each class has its centre
there, and how far its box extends to the left, top, right and bottom. Decoding and
non-maximum suppression are part of the graph.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from decode.pixels import SIZE, decode
from onnx import compose, parser
from scenes import HELD_BACK, NAMES, Object, mean_average_precision, scene
from torch import nn

SEED = 0
SCENES = 3000
EPOCHS = 16
BATCH = 32
STRIDE = 8
CELLS = SIZE // STRIDE
HERE = Path(__file__).parent

# Kept scores stay in their places and all others become 0, so that every picture of a
# batch returns its best 20: rows of one tensor must have one length. `count` says how
# many of them are objects.
SUPPRESS = f"""
<ir_version: 10, opset_import: ["" : 18]>
suppress (float[batch, {CELLS**2}, 4] all_boxes,
          float[batch, {len(NAMES)}, {CELLS**2}] all_scores)
      => (float[batch, 20, 4] boxes, float[batch, 20] scores,
          int64[batch, 20] labels, int64[batch, 1] count)
<int64[1] limit = {{20}}, float[1] overlap = {{0.5}}, float[1] least = {{0.3}},
 int64[2] rows = {{0, -1}}, int64[1] cells = {{{CELLS**2}}}, int64[1] last = {{-1}},
 float[1] zero = {{0}}>
{{
  kept = NonMaxSuppression (all_boxes, all_scores, limit, overlap, least)
  kept_scores = GatherND (all_scores, kept)
  zeros = Mul (all_scores, zero)
  others_zero = ScatterND (zeros, kept, kept_scores)
  flat = Reshape (others_zero, rows)
  scores, at = TopK <axis = 1> (flat, limit)
  labels = Div (at, cells)
  cell = Mod (at, cells)
  index = Unsqueeze (cell, last)
  boxes = GatherND <batch_dims = 1> (all_boxes, index)
  is_object = Greater (scores, zero)
  as_number = Cast <to = 7> (is_object)
  count = ReduceSum <keepdims = 1> (as_number, last)
}}
"""


class Detector(nn.Module):
    """uint8 (batch, 128, 128, 3) -> boxes (batch, 256, 4), scores (batch, 3, 256)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, out, stride, apart in (
            (3, 16, 2, 1),
            (16, 32, 2, 1),
            (32, 48, 2, 1),
            (48, 48, 1, 1),
            (48, 48, 1, 2),
            (48, 48, 1, 1),
        ):
            layers += [
                nn.Conv2d(wide, out, 3, stride, padding=apart, dilation=apart),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(48, len(NAMES) + 4, 1))
        with torch.no_grad():
            self.layers[-1].bias[: len(NAMES)] = -4.0  # most cells have no object
            self.layers[-1].bias[len(NAMES) :] = 2.0
        at = (torch.arange(CELLS) + 0.5) * STRIDE
        grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
        self.register_buffer("centres", grid.reshape(-1, 2))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes in pixels of the square, and the score of each class."""
        found = self.layers(image.permute(0, 3, 1, 2).float() / 64 - 2).flatten(2)
        sides = found[:, len(NAMES) :].exp().transpose(1, 2)
        boxes = torch.cat(
            [self.centres - sides[..., :2], self.centres + sides[..., 2:]], -1
        )
        return boxes, found[:, : len(NAMES)].sigmoid()


def targets(objects: list[Object], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the box (256, 4) and class (256,) of each cell; class -1 is none."""
    at = (np.arange(CELLS) + 0.5) * STRIDE
    centres = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    boxes = np.zeros((CELLS**2, 4), np.float32)
    labels = np.full(CELLS**2, -1)
    for found in sorted(objects, key=lambda o: o.box[0] - o.box[2]):  # small ones last
        box = np.array(found.box) * scale
        middle = (box[:2] + box[2:]) / 2
        near = (np.abs(centres - middle) < 0.9 * STRIDE).all(1)
        boxes[near], labels[near] = box, NAMES.index(found.name)
    return boxes, labels


def loss_of(
    model: Detector, image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the focal loss of the classes and the overlap loss of the boxes."""
    found, scores = model(image)
    has_object = labels >= 0
    wanted = nn.functional.one_hot(labels.clamp(0), len(NAMES)) * has_object[..., None]
    right = torch.where(wanted.transpose(1, 2) == 1, scores, 1 - scores)
    focal = -((1 - right) ** 2) * (right + 1e-7).log()
    one, other = found[has_object], boxes[has_object]
    inner = (
        torch.minimum(one[:, 2:], other[:, 2:])
        - torch.maximum(one[:, :2], other[:, :2])
    ).clamp(0)
    shared = inner.prod(1)
    areas = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1)
    overlap = -((shared + 1) / (areas - shared + 1)).log()
    return focal.sum() / has_object.sum() + overlap.mean()


def train(generator: np.random.Generator) -> Detector:
    """Fit the network to scenes, mirrored at random."""
    images, boxes, labels = [], [], []
    for number in range(SCENES):
        file, objects = scene(number)
        image, size = decode(file)
        box, label = targets(objects, SIZE / max(size))
        images.append(image), boxes.append(box), labels.append(label)
    data = [torch.from_numpy(np.stack(part)) for part in (images, boxes, labels)]
    model = Detector()
    steps = EPOCHS * (SCENES // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        if step % (SCENES // BATCH) == 0:
            order = generator.permutation(SCENES)
        at = order[(step * BATCH) % (SCENES // BATCH * BATCH) :][:BATCH]
        image, box, label = (part[at] for part in data)
        if generator.random() < 0.5:
            image = image.flip(2)
            label = label.unflatten(1, (CELLS, CELLS)).flip(2).flatten(1)
            box = box.unflatten(1, (CELLS, CELLS)).flip(2).flatten(1, 2)
            box = torch.stack(
                [SIZE - box[..., 2], box[..., 1], SIZE - box[..., 0], box[..., 3]], -1
            )
        loss = loss_of(model, image, box, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            sys.stdout.write(f"step {step} of {steps}: loss {loss:.3f}\n")
            sys.stdout.flush()
    return model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write ONNX with a free batch axis and with non-maximum suppression."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8),),
        input_names=["image"],
        output_names=["all_boxes", "all_scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    exported = program.model_proto
    for item in (*exported.graph.node, *exported.graph.input, *exported.graph.output):
        del item.metadata_props[:]
    del exported.graph.metadata_props[:], exported.metadata_props[:]
    suppress = parser.parse_model(SUPPRESS)
    exported.ir_version = suppress.ir_version
    edges = [(name, name) for name in ("all_boxes", "all_scores")]
    whole = compose.merge_models(exported, suppress, io_map=edges)
    del whole.opset_import[1:]  # both have the same
    onnx.checker.check_model(whole, full_check=True)
    onnx.save(whole, path)


def score(path: Path, scenes: list[tuple[bytes, list[Object]]]) -> float:
    """Return the mean average precision of the exported file."""
    session = onnxruntime.InferenceSession(str(path))
    found = []
    for file, _ in scenes:
        image, size = decode(file)
        rows = session.run(None, {"image": image[None]})
        boxes, scores, labels, count = (row[0] for row in rows)
        boxes *= max(size) / SIZE
        found.append(
            [
                Object(NAMES[labels[at]], float(scores[at]), tuple(boxes[at]))
                for at in range(count[0])
            ]
        )
    return mean_average_precision(found, [objects for _, objects in scenes])


def main() -> None:
    """Train, export, score the held-back scenes."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = train(np.random.default_rng(SEED))
    export(model, HERE / "shapes.onnx")
    samples = np.stack([decode(scene(number)[0])[0] for number in range(8)])
    np.savez_compressed(HERE / "data" / "verify.npz", image=samples)
    held_back = [scene(HELD_BACK + number) for number in range(200)]
    for name, count in (("five", 5), ("none", 0)):
        file = next(file for file, objects in held_back if len(objects) == count)
        (HERE / "samples" / f"{name}.jpg").write_bytes(file)
    five = decode((HERE / "samples" / "five.jpg").read_bytes())[0]
    np.savez_compressed(HERE / "samples" / "five.npz", image=five[None])
    value = score(HERE / "shapes.onnx", held_back)
    sys.stdout.write(f"mAP at 0.5 of 200 held-back scenes: {value:.3f}\n")


if __name__ == "__main__":
    main()
