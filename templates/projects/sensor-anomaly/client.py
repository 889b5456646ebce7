"""Watch recordings of motors: `python client.py [--url ...]`.

It sends held-back recordings chunk by chunk, each as a sequence, and prints alarms.
"""

import argparse
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

HERE = Path(__file__).parent
CHUNK, RATE = 8, 100
CHANNELS = ("vibration", "current", "temperature")


def main() -> None:
    """Send one recording after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    client = InferenceServerClient(options.url)
    data = np.load(HERE / "data" / "test.npz")
    for motor, recording in enumerate(data["broken"], start=1):
        alarm = watch(client, motor, recording.reshape(-1, 1, CHUNK, 3))
        print(f"motor {motor}: {alarm or 'no alarm'}")


def watch(client: InferenceServerClient, motor: int, chunks: np.ndarray) -> str:
    """Return the first alarm of a motor, or nothing."""
    alarm = ""
    for number, chunk in enumerate(chunks):
        samples = InferInput("samples", chunk.shape, "FP32")
        response = client.infer(
            "watch",
            [samples.set_data_from_numpy(chunk)],
            sequence_id=motor,
            sequence_start=number == 0,
            sequence_end=number == len(chunks) - 1,
        )
        score = response.as_numpy("score")[0, 0]
        if score > 1 and not alarm:
            channel = CHANNELS[response.as_numpy("errors")[0].argmax()]
            alarm = f"{channel} is odd at {number * CHUNK / RATE:.2f} s ({score:.1f})"
    return alarm


if __name__ == "__main__":
    main()
