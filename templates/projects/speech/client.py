"""Find speech in a WAV file: `python client.py [FILE] [--url ...]` (gRPC).

It sends 32 ms of sound per request on one gRPC stream, as a microphone would, and
prints each event when it arrives.
"""

import argparse
import queue
import wave
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

HERE = Path(__file__).parent
CHUNK = 512
STREAM = 1  # the sequence id: one for each stream that is open


def chunks(file: Path) -> "tuple[np.ndarray, int]":
    """Return the samples of a WAV file, int16, shape (chunks, 512), and their rate."""
    with wave.open(str(file)) as audio:
        if audio.getnchannels() != 1 or audio.getsampwidth() != 2:
            raise SystemExit(f"{file}: expected one channel of 16 bits")
        samples = np.frombuffer(audio.readframes(audio.getnframes()), np.int16)
        return samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK), (
            audio.getframerate()
        )


def main() -> None:
    """Send a file as one sequence; the first error ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "file", nargs="?", type=Path, default=HERE / "samples" / "speech.wav"
    )
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    sound, rate = chunks(options.file)
    responses: queue.Queue = queue.Queue()
    with InferenceServerClient(options.url) as client:
        client.start_stream(lambda result, error: responses.put((result, error)))
        for number, chunk in enumerate(sound):
            samples = InferInput("samples", [1, CHUNK], "INT16")
            samples.set_data_from_numpy(chunk[np.newaxis])
            sample_rate = InferInput("sample_rate", [1, 1], "INT32")
            sample_rate.set_data_from_numpy(np.array([[rate]], np.int32))
            client.async_stream_infer(
                "listen",
                [samples, sample_rate],
                sequence_id=STREAM,
                sequence_start=number == 0,
                sequence_end=number == len(sound) - 1,
            )
            result, error = responses.get(timeout=30)
            if error is not None:
                raise SystemExit(str(error))
            if event := result.as_numpy("event")[0, 0].decode():
                print(event)


if __name__ == "__main__":
    main()
