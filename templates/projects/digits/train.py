"""Train the digit classifier and write `digits.onnx` and `data/*.npz`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript scikit-learn
    python train.py

The data are scikit-learn's bundled digits: 1,797 grey images of 8x8 pixels. 360 of
them are held back, a fifth of each digit. Same seed, same thread count, same files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
EPOCHS = 60
HELD_BACK = 360
CALIBRATION = 256
HERE = Path(__file__).parent


class Digits(nn.Module):
    """Two convolutions and a linear layer: float32 (batch, 1, 8, 8) -> (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(128, 10),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return one score per digit; the highest wins."""
        scores: torch.Tensor = self.layers(image)
        return scores


def as_png_pixels(images: np.ndarray) -> np.ndarray:
    """Scale 0..16 to 0..1 in the 256 steps of a PNG, so that a PNG loses nothing."""
    return (np.rint(images * 255 / 16) / 255).astype(np.float32)


def train(images: torch.Tensor, labels: torch.Tensor) -> Digits:
    """Fit the network; shifts of one pixel stand in for more handwriting."""
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            down, right = torch.randint(-1, 2, (2,)).tolist()
            shifted = torch.roll(images[batch], (down, right), dims=(2, 3))
            loss = nn.functional.cross_entropy(model(shifted), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def export(model: Digits, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        optimize=False,  # that is the kit's part
        verbose=False,
    )
    exported = program.model_proto
    for item in (*exported.graph.node, *exported.graph.input, *exported.graph.output):
        del item.metadata_props[:]
    del exported.graph.metadata_props[:], exported.metadata_props[:]
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def main() -> None:
    """Train, export, score the held-back images."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images = as_png_pixels(digits.images)[:, np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        digits.target,
        test_size=HELD_BACK,
        stratify=digits.target,
        random_state=SEED,
    )
    model = train(torch.from_numpy(train_x), torch.from_numpy(train_y))
    export(model, HERE / "digits.onnx")
    data = HERE / "data"
    data.mkdir(exist_ok=True)
    np.savez_compressed(data / "test.npz", image=test_x, label=test_y)
    np.savez_compressed(data / "calibration.npz", image=train_x[:CALIBRATION])
    with torch.no_grad():
        right = (model(torch.from_numpy(test_x)).argmax(1).numpy() == test_y).mean()
    sys.stdout.write(f"right on {len(test_y)} held-back images: {right:.4f}\n")


if __name__ == "__main__":
    main()
