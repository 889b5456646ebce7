"""Score the served models: `python score.py [--users 2000] [--url ...]`."""

import argparse
from pathlib import Path

import numpy as np
from client import recommend
from interactions import HELD_BACK, HISTORY, user
from tritonclient.http import InferenceServerClient

BATCH = 50
HERE = Path(__file__).parent


def main() -> None:
    """Print how often the item that a user took next is among ten recommended ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    users = np.stack([user(HELD_BACK + number) for number in range(options.users)])
    history, wanted = users[:, :HISTORY], users[:, HISTORY:]
    with InferenceServerClient(options.url) as client:
        parts = [
            recommend(client, history[at : at + BATCH].tolist())[0]
            for at in range(0, len(users), BATCH)
        ]
    popular = np.load(HERE / "data" / "popular.npz")["items"]
    famous = [popular[~np.isin(popular, row)][:10] for row in history]
    for name, items in (("model", np.concatenate(parts)), ("popularity", famous)):
        hits = (np.array(items) == wanted).any(1).mean()
        print(f"hit rate at 10, {name}: {hits:.3f}")


if __name__ == "__main__":
    main()
