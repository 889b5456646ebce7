"""Pixels of a page become the tensors of the text detector."""

import io
import math

import numpy as np
from PIL import Image, UnidentifiedImageError

LONGEST = 640  # pixels of the longer side; longer pages are scaled down
STRIDE = 32  # the detector takes multiples of it
MAX_PIXELS = 50_000_000  # refuse to unpack a decompression bomb


def decode(file: bytes) -> "tuple[np.ndarray, float]":
    """Turn the bytes of a JPEG or PNG into uint8 (height, width, 3), and a scale.

    Sides are filled up with white to multiples of 32. The scale is pixels of the result
    for each pixel of the page.

    Raises:
        ValueError: the bytes are not a whole picture, or one that is too large.
    """
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG", "PNG"]) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width}x{height} pixels are too many")
            scale = min(1.0, LONGEST / max(width, height))
            size = (math.ceil(width * scale), math.ceil(height * scale))
            pixels = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError("the bytes are neither a JPEG nor a PNG") from error
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"the page is damaged: {error}") from error
    wide, high = (-(-side // STRIDE) * STRIDE for side in size)
    page = np.full((high, wide, 3), 255, np.uint8)
    page[: size[1], : size[0]] = pixels
    return page, scale


def normalized(pixels: np.ndarray) -> np.ndarray:
    """Return float32 from -1 to 1, blue first, shape (3, height, width)."""
    planes = pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32)
    return planes / 127.5 - 1
