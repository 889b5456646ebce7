"""Segment a volume through shared memory: `python client.py [VOLUME] [--url ...]`.

The volume is one region of memory and the masks are another. Each request says where
its slice lies and where the mask goes, so no pixel travels through a socket.
"""

import argparse

import numpy as np
from phantoms import HELD_BACK, LESION, ORGAN, dice, volume
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import shared_memory


class Region:
    """Memory that this process and the server both see; gone with its `with`."""

    def __init__(self, client: InferenceServerClient, name: str, size: int) -> None:
        self.client, self.name, self.size = client, name, size

    def __enter__(self) -> "Region":
        key = f"/{self.name}"
        self.handle = shared_memory.create_shared_memory_region(
            self.name, key, self.size
        )
        self.client.register_system_shared_memory(self.name, key, self.size)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.unregister_system_shared_memory(self.name)
        shared_memory.destroy_shared_memory_region(self.handle)


def segment(client: InferenceServerClient, units: np.ndarray) -> np.ndarray:
    """Return the classes, uint8, of a volume of Hounsfield units, int16."""
    count, height, width = units.shape
    pixels = height * width
    with (
        Region(client, "volume", units.nbytes) as volume,
        Region(client, "masks", count * pixels) as masks,
    ):
        shared_memory.set_shared_memory_region(volume.handle, [units])
        waiting = []
        for at in range(count):
            image = InferInput("slice", [height, width], "INT16")
            image.set_shared_memory(volume.name, 2 * pixels, offset=at * 2 * pixels)
            mask = InferRequestedOutput("mask")
            mask.set_shared_memory(masks.name, pixels, offset=at * pixels)
            waiting.append(client.async_infer("segment_slice", [image], outputs=[mask]))
        for request in waiting:
            request.get_result()
        found = shared_memory.get_contents_as_numpy(masks.handle, np.uint8, units.shape)
        return found.copy()


def main() -> None:
    """Make a volume, print how well the server's masks fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", nargs="?", type=int, default=HELD_BACK)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    units, truth = volume(options.volume)
    with InferenceServerClient(options.url, concurrency=2) as client:
        found = segment(client, units)
    for label, name in ((ORGAN, "organ"), (LESION, "lesions")):
        pixels = (found == label).sum()
        print(f"{name}: {pixels} pixels, Dice {dice(found, truth, label):.3f}")


if __name__ == "__main__":
    main()
