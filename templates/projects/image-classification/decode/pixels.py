"""Pixels of a picture become the tensor that the network was trained on.

Training and the served model both import this file, so that they cannot differ.
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

SIZE = (64, 64)
MEAN = np.float32([0.45, 0.45, 0.45])[:, None, None]
STD = np.float32([0.25, 0.25, 0.25])[:, None, None]
MAX_PIXELS = 16_000_000  # refuse to unpack a decompression bomb


def decode(file: bytes) -> np.ndarray:
    """Turn the bytes of a JPEG or PNG into float32, shape (3, 64, 64).

    Raises:
        ValueError: the bytes are not a whole picture, or one that is too large.
    """
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG", "PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{picture.width}x{picture.height} pixels are too many"
                )
            pixels = picture.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError("the bytes are neither a JPEG nor a PNG") from error
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"the picture is damaged: {error}") from error
    planes = np.asarray(pixels, dtype=np.float32).transpose(2, 0, 1) / 255
    return (planes - MEAN) / STD
