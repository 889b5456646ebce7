"""Name the surface in a photo: `python client.py [PHOTO] [--url ...]`."""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

HERE = Path(__file__).parent
SIDE = 64


def pixels(file: bytes) -> np.ndarray:
    """Return a photo as a camera gives it, uint8, shape (64, 64, 3)."""
    with Image.open(io.BytesIO(file)) as photo:
        size = (SIDE, SIDE)
        return np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def name(client: InferenceServerClient, image: np.ndarray) -> "tuple[float, str]":
    """Return the probability and the label of the most probable surface."""
    tensor = InferInput("pixels", [1, SIDE, SIDE, 3], "UINT8")
    tensor.set_data_from_numpy(image[np.newaxis])
    best = InferRequestedOutput("surface", class_count=1)
    response = client.infer("classify", [tensor], outputs=[best])
    probability, _, label = response.as_numpy("surface")[0, 0].decode().split(":")
    return float(probability), label


def main() -> None:
    """Send the pixels of one photo, print the most probable surface."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "photo", nargs="?", type=Path, default=HERE / "samples" / "gravel.jpg"
    )
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    probability, label = name(client, pixels(options.photo.read_bytes()))
    print(f"{label}: {probability:.3f}")


if __name__ == "__main__":
    main()
