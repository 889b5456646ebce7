"""Score the served models: `python score.py [--pages 10] [--url ...]`."""

import argparse

from client import read
from pages import HELD_BACK, errors, page
from tritonclient.http import InferenceServerClient


def main() -> None:
    """Send made pages, print the share of characters that are read wrong.

    The recognizer was trained on Chinese most of all and leaves out spaces between
    English words, so that these are counted apart.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    wrong = total = spaces = wanted = 0
    with InferenceServerClient(options.url) as client:
        for number in range(options.pages):
            file, lines = page(HELD_BACK + number)
            found = [line["text"] for line in read(client, file)]
            read_text, text = "\n".join(found), "\n".join(lines)
            wrong += errors(read_text.replace(" ", ""), text.replace(" ", ""))
            total += len(text.replace(" ", ""))
            spaces += read_text.count(" ")
            wanted += text.count(" ")
    print(f"character error rate: {wrong / total:.4f} of {total} characters")
    print(f"spaces: {spaces / wanted:.3f} of {wanted}")


if __name__ == "__main__":
    main()
