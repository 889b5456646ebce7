"""Score the served network: `python score.py [--url ...]`."""

import argparse
from pathlib import Path

import numpy as np
from client import name, pixels
from tritonclient.http import InferenceServerClient

HERE = Path(__file__).parent


def main() -> None:
    """Send photos that the training did not see, print the share of right labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    data = np.load(HERE / "data" / "test.npz")
    labels = (HERE / "labels.txt").read_text().split()
    photos = np.split(data["files"], data["ends"][:-1])
    with InferenceServerClient(options.url) as client:
        found = [name(client, pixels(photo.tobytes()))[1] for photo in photos]
    wanted = [labels[at] for at in data["label"]]
    right = np.mean([one == other for one, other in zip(found, wanted, strict=True)])
    print(f"right: {right:.3f} of {len(wanted)}")


if __name__ == "__main__":
    main()
