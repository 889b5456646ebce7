"""Stream a date: `python client.py ["3 March 2021"] [--url ...]` (gRPC)."""

import argparse
import queue

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput


def main() -> None:
    """Send one text; print each character when it arrives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", default="3 March 2021")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    text = InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([options.text.encode()], object))
    events: queue.Queue = queue.Queue()
    with InferenceServerClient(options.url) as client:
        client.start_stream(lambda result, error: events.put((result, error)))
        client.async_stream_infer("generate", [text], enable_empty_final_response=True)
        while True:
            result, error = events.get(timeout=30)
            if error is not None:
                raise SystemExit(f"\n{error}")
            if result.get_response().parameters["triton_final_response"].bool_param:
                break
            print(result.as_numpy("token")[0].decode(), end="", flush=True)
        client.stop_stream()
    print()


if __name__ == "__main__":
    main()
