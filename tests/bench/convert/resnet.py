"""A network with the shape of ResNet-50: blocks, widths, sizes; trained for a minute.

It has to be trained, if not for long: as it is drawn, with BatchNorm, the network makes
any noise stronger from block to block (docs/convert.md has the figures), so that what
comes out after rounding to int8 says nothing about the rounding. What it learns is
little, and does not matter here.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
SIZE = 224
CACHE = Path(__file__).parents[3] / ".cache" / "bench-convert"

_STEPS = 100
_BATCH = 16
_TRAINED_SIZE = 64  # pixels: a step takes a twelfth of what it would take at 224
_LEARNING_RATE = 1e-3
_WARM_UP_STEPS = 5
_FIRST_SHARE = 0.1  # of a block's own layers in what it answers, beside its skip
_LEVELS = 10  # of direction, pitch and hue: 1,000 classes


class Bottleneck(nn.Module):
    def __init__(self, inside, width, stride):
        super().__init__()
        outside = width * EXPANSION
        self.layers = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip = nn.Identity()
        if stride > 1 or inside != outside:
            self.skip = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False),
                nn.BatchNorm2d(outside),
            )

    def forward(self, x):
        return torch.relu(self.layers(x) + self.skip(x))


def drawn():
    """Return the module as training starts: He's weights, blocks that add little."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inside = 64
    for stage, count in enumerate(BLOCKS):
        width = 64 << stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            layers.append(Bottleneck(inside, width, stride))
            inside = width * EXPANSION
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, _LEVELS**3)]
    module = nn.Sequential(*layers)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        if isinstance(layer, Bottleneck):
            nn.init.constant_(layer.layers[-1].weight, _FIRST_SHARE)
    return module


def images(count, size, seed):
    """Draw gratings: float32, shape (count, 3, size, size); and classes, (count,).

    Direction, pitch and hue make the class; phase, contrast and noise do not.
    """
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, _LEVELS, (3, count, 1, 1))
    direction, pitch, hue = (levels + rng.normal(0, 0.1, levels.shape)) / _LEVELS
    across = np.arange(size) / size
    place = np.cos(np.pi * direction) * across + (
        np.sin(np.pi * direction) * across[:, None]
    )
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    wave = np.sin(2 * np.pi * 2 * 4**pitch * place + phase)
    thirds = np.arange(3).reshape(1, 3, 1, 1) / 3
    colour = 1 + np.cos(2 * np.pi * (hue[:, None] + thirds))
    drawn_images = rng.uniform(0.5, 1, (count, 1, 1, 1)) * colour * wave[:, None]
    drawn_images += 0.3 * rng.standard_normal(drawn_images.shape)
    classes = np.ravel(levels[0] * _LEVELS**2 + levels[1] * _LEVELS + levels[2])
    return drawn_images.astype(np.float32), classes


def resnet50(steps=_STEPS):
    """Return the module after so many steps of training, from the cache if it is there.

    Its BatchNorms know the spread of images of full size.
    """
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    kept = CACHE / f"resnet50-{steps}-{source}.pt"
    module = drawn()
    if kept.exists():
        module.load_state_dict(torch.load(kept))
        return module.eval()
    _train(module, steps)
    _take_statistics(module)
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(".new")
    torch.save(module.state_dict(), unfinished)
    unfinished.rename(kept)
    return module.eval()


def _train(module, steps):
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=_LEARNING_RATE)
    for step in range(steps):
        warm = min(1, (step + 1) / _WARM_UP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * warm * (1 + np.cos(np.pi * step / steps)) / 2
        pictures, classes = images(_BATCH, _TRAINED_SIZE, seed=step)
        answers = module(torch.from_numpy(pictures))
        loss = nn.functional.cross_entropy(answers, torch.from_numpy(classes))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _take_statistics(module):
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain mean over what it sees
            layer.reset_running_stats()
    with torch.no_grad():
        module.train()(torch.from_numpy(images(8, SIZE, seed=10_000)[0]))


def make():
    """What `triton-kit convert resnet:make` calls."""
    return resnet50(), {"input": torch.from_numpy(images(2, SIZE, seed=0)[0])}
