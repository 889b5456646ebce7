"""Sort messages by topic: `python client.py [TEXT ...] [--url ...]`.

It prints the best topic of each text, and which two texts are most alike.
"""

import argparse

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

TEXTS = (
    "Where is my parcel now?",
    "The courier lost the package.",
    "I was charged twice on my card.",
)


def main() -> None:
    """Send all texts as one batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="*", default=TEXTS)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    text = InferInput("text", [len(options.text), 1], "BYTES")
    rows = [[one.encode()] for one in options.text]
    text.set_data_from_numpy(np.array(rows, object))
    # With class_count the server sorts the topics and adds their names.
    outputs = [
        InferRequestedOutput("topic", class_count=1),
        InferRequestedOutput("sentence_embedding"),
    ]
    response = client.infer("sort_message", [text], outputs=outputs)
    for one, [best] in zip(options.text, response.as_numpy("topic"), strict=True):
        probability, _, label = best.decode().split(":")
        print(f"{label} ({float(probability):.2f}): {one}")
    embeddings = response.as_numpy("sentence_embedding")
    if len(embeddings) > 1:
        alike = embeddings @ embeddings.T - 2 * np.eye(len(embeddings))
        a, b = sorted(np.unravel_index(alike.argmax(), alike.shape))
        print(f"most alike ({alike.max():.2f}): {options.text[a]} | {options.text[b]}")


if __name__ == "__main__":
    main()
