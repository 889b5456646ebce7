"""The bytes of a JPEG become the tensor that the tracker takes."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

SIZE = (128, 96)  # width and height
MAX_PIXELS = 16_000_000  # refuse to unpack a decompression bomb


def decode(file: bytes) -> np.ndarray:
    """Turn the bytes of a JPEG into float32 from 0 to 1, shape (3, 96, 128).

    Raises:
        ValueError: the bytes are not a whole JPEG, or one that is too large.
    """
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{picture.width}x{picture.height} pixels are too many"
                )
            pixels = picture.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError("the bytes are not a JPEG") from error
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"the picture is damaged: {error}") from error
    return np.asarray(pixels, np.float32).transpose(2, 0, 1) / 255
