"""Train the surface classifier and write `surfaces.onnx`, `data/` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript scikit-image pillow
    python train.py

The data are six photos in the public domain that scikit-image ships. Crops from the
left two thirds of each photo train the network, crops from the right third score it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import onnx
import skimage
import torch
from decode.pixels import SIZE, decode
from PIL import Image
from torch import nn

SEED = 0
STEPS = 700
BATCH = 64
HELD_BACK = 240
CALIBRATION = 64
HERE = Path(__file__).parent
PHOTOS = {  # name -> file, and the rows and columns that show the surface
    "brick": ("brick.png", (0, 512, 0, 512)),
    "fur": ("chelsea.png", (100, 300, 30, 420)),
    "grass": ("grass.png", (0, 512, 0, 512)),
    "gravel": ("gravel.png", (0, 512, 0, 512)),
    "moon": ("moon.png", (0, 512, 0, 512)),
    "stars": ("hubble_deep_field.jpg", (0, 872, 0, 1000)),
}


class Surfaces(nn.Module):
    """Four convolutions: float32 (batch, 3, 64, 64) -> (batch, 6)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, out in ((3, 16), (16, 32), (32, 48), (48, 64)):
            layers += [nn.Conv2d(wide, out, 3, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(out), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(PHOTOS))]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the probability of each surface."""
        probabilities: torch.Tensor = self.layers(image).softmax(1)
        return probabilities


def photos() -> list[Image.Image]:
    """Return the six photos in colour, without what is not the surface."""
    folder = Path(skimage.__file__).parent / "data"
    found = []
    for name, (top, bottom, left, right) in PHOTOS.values():
        photo = Image.open(folder / name).convert("RGB")
        found.append(photo.crop((left, top, right, bottom)))
    return found


def crop(
    photo: Image.Image, generator: np.random.Generator, *, held_back: bool
) -> Image.Image:
    """Cut a square of 56 to 96 pixels out of one part of a photo, darker or lighter."""
    border = photo.width * 2 // 3
    first, last = (border, photo.width) if held_back else (0, border)
    side = int(generator.integers(56, 97))
    left = int(generator.integers(first, last - side + 1))
    top = int(generator.integers(0, photo.height - side + 1))
    square = photo.crop((left, top, left + side, top + side))
    light = generator.uniform(0.7, 1.3)
    return square.point([min(255, int(v * light)) for v in range(256)] * 3)


def as_jpeg(picture: Image.Image) -> bytes:
    """Compress a picture as a camera does."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def train(found: list[Image.Image], generator: np.random.Generator) -> nn.Module:
    """Fit the network to new crops in each step, mirrored at random."""
    model = Surfaces()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=STEPS)
    for _ in range(STEPS):
        labels = torch.from_numpy(generator.integers(0, len(found), BATCH))
        crops = [crop(found[n], generator, held_back=False) for n in labels]
        images = torch.from_numpy(np.stack([decode(as_jpeg(c)) for c in crops]))
        images = images.flip(3) if generator.random() < 0.5 else images
        loss = nn.functional.nll_loss((model(images) + 1e-7).log(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 3, *SIZE),),
        input_names=["image"],
        output_names=["surface"],
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
    """Train, export, score the held-back crops."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(SEED)
    found = photos()
    model = train(found, generator)
    export(model, HERE / "surfaces.onnx")
    (HERE / "labels.txt").write_text("\n".join(PHOTOS) + "\n")
    labels = np.arange(HELD_BACK) % len(found)
    files = [as_jpeg(crop(found[n], generator, held_back=True)) for n in labels]
    samples = [
        decode(as_jpeg(crop(found[n % len(found)], generator, held_back=False)))
        for n in range(CALIBRATION)
    ]
    images = np.stack([decode(file) for file in files])
    ends = np.cumsum([len(file) for file in files])
    content = np.frombuffer(b"".join(files), np.uint8)
    data = HERE / "data"
    data.mkdir(exist_ok=True)
    np.savez_compressed(data / "test.npz", files=content, ends=ends, label=labels)
    np.savez_compressed(data / "calibration.npz", image=np.stack(samples))
    for name, file in zip(PHOTOS, files, strict=False):
        (HERE / "samples" / f"{name}.jpg").write_bytes(file)
    grass = np.array([[files[2]]], object)
    np.savez(HERE / "samples" / "grass.npz", picture=grass.astype("S"))
    with torch.no_grad():
        right = (model(torch.from_numpy(images)).argmax(1).numpy() == labels).mean()
    sys.stdout.write(f"right on {HELD_BACK} held-back crops: {right:.4f}\n")


if __name__ == "__main__":
    main()
