"""Score the served network: `python score.py [--volumes 20] [--url ...]`."""

import argparse

import numpy as np
from client import segment
from phantoms import HELD_BACK, LESION, ORGAN, dice, volume
from tritonclient.http import InferenceServerClient


def main() -> None:
    """Segment volumes that the training did not see, print the mean Dice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=20)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    found, truth = [], []
    with InferenceServerClient(options.url, concurrency=2) as client:
        for number in range(options.volumes):
            units, classes = volume(HELD_BACK + number)
            found.append(segment(client, units))
            truth.append(classes)
    masks, classes = np.stack(found), np.stack(truth)
    for label, name in ((ORGAN, "organ"), (LESION, "lesions")):
        print(f"Dice of {name}: {dice(masks, classes, label):.3f}")


if __name__ == "__main__":
    main()
