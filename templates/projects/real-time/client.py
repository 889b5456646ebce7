"""Track a ball with a deadline: `python client.py [--deadline-ms 100] [--url ...]`.

It sends 20 frames a second. A frame whose response is late is dropped, not repeated.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

HERE = Path(__file__).parent
PERIOD_S = 0.05
CONTROL = 1  # the priority


def main() -> None:
    """Send frames at their times; count those that came back in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deadline-ms", type=int, default=100)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    deadline_s = options.deadline_ms / 1000
    # The connection gives up at the deadline; the server's queue does so, too.
    client = InferenceServerClient(options.url, network_timeout=deadline_s)
    frames = np.load(HERE / "data" / "test.npz")["frame"]
    in_time, start = 0, time.monotonic()
    for number, pixels in enumerate(frames):
        time.sleep(max(0, start + number * PERIOD_S - time.monotonic()))
        sent = time.monotonic()
        frame = InferInput("frame", [1, *pixels.shape], "UINT8")
        frame.set_data_from_numpy(pixels[np.newaxis])
        try:
            response = client.infer(
                "track",
                [frame],
                priority=CONTROL,
                timeout=int(deadline_s * 1e6),  # in the queue, in microseconds
            )
        except (InferenceServerException, OSError) as error:
            print(f"frame {number}: dropped: {error}")
            continue
        in_time += 1
        column, row = response.as_numpy("centre")[0]
        if number % 10 == 0:
            took = (time.monotonic() - sent) * 1000
            print(f"frame {number}: ({column:.1f}, {row:.1f}) after {took:.1f} ms")
    print(f"{in_time} of {len(frames)} frames in time")


if __name__ == "__main__":
    main()
