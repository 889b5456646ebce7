"""Ask the pipeline for the digit in a picture: `python client.py [PNG] [--url ...]`."""

import argparse
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

HERE = Path(__file__).parent


def main() -> None:
    """Send one picture, print the digit and its score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "png", nargs="?", type=Path, default=HERE / "samples" / "seven.png"
    )
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    request = InferInput("png", [1, 1], "BYTES")
    request.set_data_from_numpy(np.array([[options.png.read_bytes()]], object))
    scores = client.infer("read_digit", [request]).as_numpy("scores")[0]
    print(f"{options.png.name}: {scores.argmax()} (score {scores.max():.2f})")


if __name__ == "__main__":
    main()
