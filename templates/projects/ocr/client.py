"""Read a page: `python client.py [JPEG or PNG] [--url ...]`."""

import argparse
import json
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

HERE = Path(__file__).parent


def read(client: InferenceServerClient, file: bytes) -> "list[dict]":
    """Send the bytes of a page; return text, score and box of each line."""
    tensor = InferInput("file", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([file], object))
    response = client.infer("read_page", [tensor])
    return json.loads(response.as_numpy("lines")[0])


def main() -> None:
    """Print the lines of a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "page", nargs="?", type=Path, default=HERE / "samples" / "page.jpg"
    )
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    for line in read(client, options.page.read_bytes()):
        print(f"{line['score']:.3f}  {line['text']}")


if __name__ == "__main__":
    main()
