"""Made pages with known texts, and how many characters are read wrong.

The same number gives the same page. No setting was chosen on pages from 1000 on.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HELD_BACK = 1000
WORDS = [
    "invoice", "total", "amount", "date", "order", "number", "customer", "address",
    "street", "payment", "due", "within", "days", "bank", "account", "tax",
    "included", "delivery", "item", "price", "quantity", "discount", "thank", "you",
    "for", "your", "business", "please", "contact", "service", "phone", "reference",
    "page", "balance",
]  # fmt: skip


def page(number: int) -> tuple[bytes, list[str]]:
    """Return a JPEG of a page, and its lines from top to bottom."""
    draw = np.random.default_rng(number)
    width, height = (int(side) for side in draw.integers((400, 160), (560, 240)))
    paper = int(draw.integers(225, 256))
    canvas = Image.new("RGB", (width, height), (paper, paper, int(paper * 0.97)))
    pen = ImageDraw.Draw(canvas)
    lines = []
    top = int(draw.integers(15, 40))
    while top < height - 45:
        size = int(draw.integers(20, 30))
        font = ImageFont.load_default(size)
        text = _line(draw)
        left = int(draw.integers(15, 60))
        while pen.textlength(text, font) > width - left - 15:
            text = text.rpartition(" ")[0]
        ink = tuple(int(part) for part in draw.integers(0, 90, 3))
        pen.text((left, top), text, fill=ink, font=font)
        lines.append(text)
        top += int(size * draw.uniform(1.6, 2.6))
    noise = draw.normal(0, 4, (height, width, 3))
    noisy = (np.asarray(canvas) + noise).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=75)
    return stream.getvalue(), lines


def _line(draw: np.random.Generator) -> str:
    words = [str(word) for word in draw.choice(WORDS, draw.integers(1, 5))]
    if draw.random() < 0.5:
        words[0] = words[0].capitalize()
    if draw.random() < 0.6:
        words.append(f"{draw.uniform(0, 3000):.2f}")
    return " ".join(words)


def errors(found: str, wanted: str) -> int:
    """Return how many characters must change, come or go."""
    above = list(range(len(wanted) + 1))
    for at, letter in enumerate(found, 1):
        row = [at]
        for column, wanted_letter in enumerate(wanted, 1):
            change = above[column - 1] + (letter != wanted_letter)
            row.append(min(change, above[column] + 1, row[-1] + 1))
        above = row
    return above[-1]
