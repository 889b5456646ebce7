"""Recommend items: `python client.py [ITEM ...] [--url ...]`: what the user took last.

Asks twice: the second response comes from the server's cache.
"""

import argparse
import time

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

MODEL, LENGTH, NONE = "recommend", 20, -1
ITEMS = [21182, 2001, 19603]


def recommend(
    client: InferenceServerClient, history: "list[list[int]]"
) -> "tuple[np.ndarray, np.ndarray]":
    """Return items and scores, each of shape (users, 10), for the users' last items."""
    rows = [(items + [NONE] * LENGTH)[:LENGTH] for items in history]
    tensor = InferInput("history", [len(rows), LENGTH], "INT64")
    tensor.set_data_from_numpy(np.array(rows, np.int64))
    response = client.infer(MODEL, [tensor])
    return response.as_numpy("items"), response.as_numpy("scores")


def main() -> None:
    """Print the items, and how long both requests took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="*", type=int, metavar="ITEM", default=ITEMS)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    for _ in range(2):
        begin = time.perf_counter()
        items, scores = recommend(client, [options.items])
        taken = time.perf_counter() - begin
        found = " ".join(
            f"{i}:{s:.2f}" for i, s in zip(items[0], scores[0], strict=True)
        )
        print(f"{found} in {taken * 1000:.1f} ms")
    [model] = client.get_inference_statistics(MODEL)["model_stats"]
    print(f"from the cache: {model['inference_stats']['cache_hit']['count']} responses")


if __name__ == "__main__":
    main()
