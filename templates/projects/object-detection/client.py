"""Find objects in a picture: `python client.py [JPEG] [--url ...]`."""

import argparse
import json
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

HERE = Path(__file__).parent


def find(client: InferenceServerClient, file: bytes) -> "list[dict]":
    """Send one JPEG as it is; return name, score and box of each object."""
    picture = InferInput("picture", [1, 1], "BYTES")
    picture.set_data_from_numpy(np.array([[file]], object))
    response = client.infer("find_objects", [picture])
    return json.loads(response.as_numpy("objects")[0, 0])


def main() -> None:
    """Print an object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "picture", nargs="?", type=Path, default=HERE / "samples" / "five.jpg"
    )
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    for found in find(client, options.picture.read_bytes()):
        print(json.dumps(found))


if __name__ == "__main__":
    main()
