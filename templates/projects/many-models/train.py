"""Train the four networks; write their ONNX files, `data/` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript scikit-learn
    python train.py

The data are scikit-learn's bundled digits: 1,797 grey images of 8x8 pixels. 360 of
them are held back, a fifth of each digit.
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
EPOCHS = 30
HELD_BACK = 360
HERE = Path(__file__).parent


class Rows(nn.Module):
    """A GRU that reads the image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.GRU(8, 32, batch_first=True)
        self.choose = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores after the last row."""
        scores: torch.Tensor = self.choose(self.read(image.squeeze(1))[0][:, -1])
        return scores


class Probabilities(nn.Module):
    """A network with softmax behind it: float32 (batch, 1, 8, 8) -> (batch, 10)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the probability of each digit."""
        probabilities: torch.Tensor = self.network(image).softmax(1)
        return probabilities


def networks() -> dict[str, nn.Module]:
    """Return the networks by the names of their files."""
    return {
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        "rows": Rows(),
        "current": nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
        ),
        "candidate": nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(128, 10)),
        ),
    }


def train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Fit a network; shifts of one pixel stand in for more handwriting."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            down, right = torch.randint(-1, 2, (2,)).tolist()
            shifted = torch.roll(images[batch], (down, right), dims=(2, 3))
            loss = nn.functional.cross_entropy(network(shifted), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    network.eval()


def export(network: nn.Module, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        Probabilities(network).eval(),
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        output_names=["probabilities"],
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
    """Train, export, score the held-back images."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        digits.target,
        test_size=HELD_BACK,
        stratify=digits.target,
        random_state=SEED,
    )
    found = {}
    for name, network in networks().items():
        train(network, torch.from_numpy(train_x), torch.from_numpy(train_y))
        export(network, HERE / f"{name}.onnx")
        with torch.no_grad():
            found[name] = network(torch.from_numpy(test_x)).softmax(1).numpy()
    for classify in ("current", "candidate"):
        voters = [found["linear"], found["rows"], found[classify]]
        found[f"vote with {classify}"] = np.mean(voters, 0)
    for name, probabilities in found.items():
        right = (probabilities.argmax(1) == test_y).mean()
        sys.stdout.write(f"{name}: {right:.4f} of {HELD_BACK} held-back images\n")
    np.savez_compressed(HERE / "data" / "test.npz", image=test_x, label=test_y)
    samples = HERE / "samples"
    users = np.array([[f"user-{number}"] for number in range(16)], "S8")
    np.savez_compressed(samples / "digits.npz", image=test_x[:16])
    np.savez_compressed(samples / "users.npz", image=test_x[:16], user=users)
    np.savez_compressed(samples / "seven.npz", image=test_x[test_y == 7][:1])


if __name__ == "__main__":
    main()
