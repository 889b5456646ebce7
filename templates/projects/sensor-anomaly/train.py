"""Train the network that predicts a motor's next samples: `detect.onnx`, `data/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript
    python train.py

The recordings are made (`signals.py`), all parts from different seeds: one for the
training, one for the threshold, one that scores. The network sees motors that are well;
what it does not expect is an anomaly.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from signals import ANOMALY, KINDS, break_motor, motor
from torch import nn

SEED = 0
STEPS, BATCH = 3000, 256
CHUNK, WINDOW, CHANNELS = 8, 56, 3
LENGTH = 800  # samples of a recording
FALSE_ALARMS = 0.001  # of the chunks that set the threshold
SCORED = 50  # recordings of each kind
HERE = Path(__file__).parent


class Detect(nn.Module):
    """One chunk of a stream: (samples, state) -> (score, errors, next state).

    samples is float32 (batch, 8, 3), the state is window (batch, 56, 3) and seen
    (batch, 1). The score is the largest error of a channel, 1 at the threshold; it is
    0 until the window is full.
    """

    def __init__(self) -> None:
        super().__init__()
        self.predict = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(WINDOW * CHANNELS, 64), nn.ReLU()),
            nn.Linear(64, CHUNK * CHANNELS),
        )
        self.register_buffer("threshold", torch.ones(CHANNELS))

    def expected(self, window: torch.Tensor) -> torch.Tensor:
        """Return the next chunk, as what is added to the last sample."""
        last = window[:, -1:]
        change: torch.Tensor = self.predict(window - last)
        return last + change.view(-1, CHUNK, CHANNELS)

    def forward(
        self, samples: torch.Tensor, window: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compare a chunk with what the window lets expect."""
        errors = (samples - self.expected(window)).square().mean(1).sqrt()
        errors = errors / self.threshold * (seen >= WINDOW).float()
        following = torch.cat([window, samples], 1)[:, CHUNK:]
        return errors.amax(1, keepdim=True), errors, following, seen + CHUNK


def chunks(recordings: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows of recordings (count, length, 3), and the chunk behind each."""
    starts = range(0, LENGTH - WINDOW - CHUNK + 1, CHUNK)
    pieces = [recordings[:, at : at + WINDOW + CHUNK] for at in starts]
    joined = torch.from_numpy(np.concatenate(pieces))
    return joined[:, :WINDOW], joined[:, WINDOW:]


def train(model: Detect, generator: np.random.Generator) -> None:
    """Fit the prediction to recordings of motors that are well."""
    windows, following = chunks(
        np.stack([motor(generator, LENGTH) for _ in range(300)])
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        at = torch.randint(len(windows), (BATCH,))
        loss = (model.expected(windows[at]) - following[at]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def set_threshold(model: Detect, generator: np.random.Generator) -> None:
    """Let one of 1000 chunks of motors that are well score above 1."""
    windows, following = chunks(
        np.stack([motor(generator, LENGTH) for _ in range(200)])
    )
    errors = (following - model.expected(windows)).square().mean(1).sqrt()
    model.threshold[:] = errors.quantile(1 - FALSE_ALARMS / CHANNELS, dim=0)


def scores(model: Detect, recording: np.ndarray) -> np.ndarray:
    """Return the score of each chunk, as the server gets it."""
    window, seen = torch.zeros(1, WINDOW, CHANNELS), torch.zeros(1, 1)
    found = []
    for part in torch.from_numpy(recording).view(-1, 1, CHUNK, CHANNELS):
        score, _, window, seen = model(part, window, seen)
        found.append(score.item())
    return np.array(found)


def export(model: Detect, path: Path) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        model,
        (
            torch.zeros(2, CHUNK, CHANNELS),
            torch.zeros(2, WINDOW, CHANNELS),
            torch.zeros(2, 1),
        ),
        input_names=["samples", "window", "seen"],
        output_names=["score", "errors", "next_window", "next_seen"],
        dynamic_shapes=(batch, batch, batch),
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
    """Train, set the threshold, export, score new recordings."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model = Detect()
    train(model, np.random.default_rng(SEED))
    model.eval()
    generator = np.random.default_rng(SEED + 2)
    with torch.no_grad():
        set_threshold(model, np.random.default_rng(SEED + 1))
        well = [motor(generator, LENGTH) for _ in range(SCORED * len(KINDS))]
        alarms = np.mean([scores(model, recording) > 1 for recording in well])
        sys.stdout.write(f"well: {alarms:.4f} of the chunks above 1\n")
        broken, starts = [], []
        for kind in KINDS:
            found = []
            for _ in range(SCORED):
                recording = motor(generator, LENGTH)
                changed, start = break_motor(generator, recording, kind)
                part = scores(model, changed)[start // CHUNK :][: ANOMALY // CHUNK + 1]
                found.append((part > 1).any())
                broken.append(changed)
                starts.append(start)
            sys.stdout.write(f"{kind}: {np.mean(found):.2f} of {SCORED} found\n")
    export(model, HERE / "detect.onnx")
    np.savez_compressed(
        HERE / "data" / "test.npz",
        well=np.stack(well[:8]),
        broken=np.stack(broken[:: SCORED // 2]),
        start=np.array(starts[:: SCORED // 2]),
    )
    parts = well[0].reshape(-1, CHUNK, CHANNELS)
    np.savez_compressed(HERE / "samples" / "motor.npz", samples=parts)
    np.savez_compressed(HERE / "samples" / "first.npz", samples=parts[:1])
    long = np.stack([recording[:512] for recording in well[:4]])
    np.savez_compressed(HERE / "samples" / "recordings.npz", recording=long)


if __name__ == "__main__":
    main()
