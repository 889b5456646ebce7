"""A network with the shape of ResNet-50: blocks, widths and sizes; random weights."""

import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


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


def resnet50():
    """Return the module; its BatchNorms know the spread of random images."""
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
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000)]
    module = nn.Sequential(*layers)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain mean over what it sees
    with torch.no_grad():
        module(torch.randn(4, 3, 224, 224))
    return module.eval()


def make():
    """What `triton-kit convert resnet:make` calls."""
    return resnet50(), {"input": torch.randn(2, 3, 224, 224)}
