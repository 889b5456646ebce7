"""Score the served detector: `python score.py [--scenes 200] [--url ...]`."""

import argparse
from concurrent.futures import ThreadPoolExecutor

from client import find
from scenes import HELD_BACK, Object, mean_average_precision, scene
from tritonclient.http import InferenceServerClient


def main() -> None:
    """Send scenes that the training did not see, print the mean average precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    scenes = [scene(HELD_BACK + number) for number in range(options.scenes)]

    def ask(one: "tuple[bytes, list[Object]]") -> "list[Object]":
        with InferenceServerClient(options.url) as client:
            return [Object(**found) for found in find(client, one[0])]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, scenes))
    truth = [objects for _, objects in scenes]
    print(f"mAP at 0.5: {mean_average_precision(found, truth):.3f}")


if __name__ == "__main__":
    main()
