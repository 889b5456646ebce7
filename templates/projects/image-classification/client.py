"""Name the surface in a photo: `python client.py [PHOTO] [--top 3] [--url ...]`."""

import argparse
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

HERE = Path(__file__).parent


def main() -> None:
    """Send one photo as it is, print the most probable surfaces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "photo", nargs="?", type=Path, default=HERE / "samples" / "gravel.jpg"
    )
    parser.add_argument("--top", type=int, default=3, help="number of labels")
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    picture = InferInput("picture", [1, 1], "BYTES")
    picture.set_data_from_numpy(np.array([[options.photo.read_bytes()]], object))
    # The server sorts the classes and adds the names: its classification extension.
    best = InferRequestedOutput("surface", class_count=options.top)
    response = client.infer("name_surface", [picture], outputs=[best])
    for entry in response.as_numpy("surface")[0]:
        probability, _, label = entry.decode().split(":")
        print(f"{label}: {float(probability):.3f}")


if __name__ == "__main__":
    main()
