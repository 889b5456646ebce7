"""Score the served tracker: `python score.py [--cameras 6] [--url ...]`."""

import argparse

from camera import Camera
from footage import HELD_BACK, footage, overlap
from tritonclient.http import InferenceServerClient


def main() -> None:
    """Send video of other cameras, print how often what moves is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    found = moving = false = still = 0
    with InferenceServerClient(options.url) as client:
        for number in range(options.cameras):
            frames = list(footage(HELD_BACK + number))
            camera = Camera(client, number + 1)
            for at, (file, box) in enumerate(frames, 1):
                seen = camera.send(at, file, is_last=at == len(frames))
                if box is None:
                    still += 1
                    false += seen.moving > 0
                else:
                    moving += 1
                    found += overlap(box, seen.box) >= 0.5
    print(f"found: {found / moving:.3f} of {moving} frames with movement")
    print(f"false: {false / still:.3f} of {still} frames without")


if __name__ == "__main__":
    main()
