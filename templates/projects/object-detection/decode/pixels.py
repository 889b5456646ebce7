"""Pixels of a picture become the tensor that the network was trained on.

Training and the served model both import this file, so that they cannot differ.
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

SIZE = 128
MAX_PIXELS = 16_000_000  # refuse to unpack a decompression bomb


def decode(file: bytes) -> "tuple[np.ndarray, tuple[int, int]]":
    """Turn the bytes of a JPEG into uint8, shape (128, 128, 3), and its size.

    That is width and height of the picture. The longer side fills the square; what the
    shorter one leaves is grey.

    Raises:
        ValueError: the bytes are not a whole JPEG, or one that is too large.
    """
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width}x{height} pixels are too many")
            scale = SIZE / max(width, height)
            scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = picture.convert("RGB").resize(scaled, Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError("the bytes are not a JPEG") from error
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"the picture is damaged: {error}") from error
    square = np.full((SIZE, SIZE, 3), 128, np.uint8)
    square[: scaled[1], : scaled[0]] = pixels
    return square, (width, height)
