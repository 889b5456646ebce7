"""Ask all models about held-back digits: `python client.py [--count 10] [--url ...]`.

It prints the digit by vote, and which version served a user.
"""

import argparse
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

HERE = Path(__file__).parent


def main() -> None:
    """Send one batch to the vote, and one request per user to the router."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="number of images")
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    data = np.load(HERE / "data" / "test.npz")
    images, labels = data["image"][: options.count], data["label"][: options.count]
    client = InferenceServerClient(options.url)
    batch = InferInput("image", images.shape, "FP32").set_data_from_numpy(images)
    voted = client.infer("vote_digit", [batch])
    for at, label in enumerate(labels):
        user = f"user-{at}"
        image = InferInput("image", images[at].shape, "FP32")
        name = InferInput("user", [1], "BYTES")
        name.set_data_from_numpy(np.array([user.encode()], object))
        routed = client.infer("route", [image.set_data_from_numpy(images[at]), name])
        print(
            f"{label}: vote {voted.as_numpy('digit')[at, 0]} "
            f"({voted.as_numpy('votes')[at, 0]} of 3), {user} got "
            f"{routed.as_numpy('probabilities').argmax()} "
            f"from {routed.as_numpy('served_by')[0].decode()}"
        )


if __name__ == "__main__":
    main()
