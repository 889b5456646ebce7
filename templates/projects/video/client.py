"""Watch cameras at once: `python client.py [--cameras 3] [--fps 25] [--url ...]`.

Each camera makes a frame every 1/fps seconds, whether or not the server keeps up. A
frame that waits when the next one comes is dropped: the newest matters, and a queue
would let the delay grow. The frames have numbers, so the server counts what is missing.
"""

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from camera import Camera
from footage import HELD_BACK, footage
from tritonclient.http import InferenceServerClient


class Newest:
    """Room for one frame; a newer one takes its place."""

    def __init__(self) -> None:
        self._changed, self._frame = threading.Condition(), None

    def put(self, frame: "tuple[int, bytes, bool]") -> None:
        """Put a frame in the place of one that still waits."""
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def take(self) -> "tuple[int, bytes, bool]":
        """Wait for a frame."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None)
            frame, self._frame = self._frame, None
            return frame


def record(camera: int, fps: float, frames: int, newest: Newest) -> None:
    """Put a frame at each of its times, counted from the first."""
    files = [file for file, _ in footage(HELD_BACK + camera, frames)]
    begin = time.monotonic()
    for at, file in enumerate(files):
        time.sleep(max(0.0, begin + at / fps - time.monotonic()))
        newest.put((at + 1, file, at + 1 == frames))


def watch(camera: int, fps: float, frames: int, url: str) -> str:
    """Send a camera's frames, one at a time; return a line of figures."""
    newest = Newest()
    recorder = threading.Thread(target=record, args=(camera, fps, frames, newest))
    recorder.start()
    taken, moving, seen, is_last = [], 0, None, False
    with InferenceServerClient(url) as client:
        sender = Camera(client, camera + 1)
        while not is_last:
            number, file, is_last = newest.take()
            begin = time.perf_counter()
            found = sender.send(number, file, is_last=is_last)
            taken.append(time.perf_counter() - begin)
            seen = found or seen
            moving += found is not None and found.moving > 0
    recorder.join()
    median = sorted(taken)[len(taken) // 2] * 1000
    return (
        f"camera {camera}: {len(taken)} of {frames} frames sent, "
        f"{seen.dropped} dropped, movement in {moving}, {median:.1f} ms"
    )


def main() -> None:
    """Watch all cameras at once, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.cameras) as pool:
        lines = [
            pool.submit(watch, camera, options.fps, options.frames, options.url)
            for camera in range(options.cameras)
        ]
        for line in lines:
            print(line.result())


if __name__ == "__main__":
    main()
