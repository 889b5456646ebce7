"""A camera's frames as one sequence of requests, in order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException


class Seen(NamedTuple):
    """What the server says of a frame: a box, the share that moves, dropped frames."""

    box: tuple[float, ...]
    moving: float
    dropped: int


class Camera:
    """Sends frames of one camera; the server keeps what it needs of past ones.

    Args:
        client: a connection of this thread's own.
        identity: a number or a name, not 0, that no other camera has.
    """

    def __init__(self, client: InferenceServerClient, identity: int | str) -> None:
        self._client, self._identity = client, identity
        self._has_started = False

    def send(self, number: int, file: bytes, *, is_last: bool = False) -> Seen | None:
        """Send frame `number`, a JPEG; return None if the server refuses it.

        A sequence begins with the first frame that the server accepts.
        """
        picture = InferInput("picture", [1, 1], "BYTES")
        picture.set_data_from_numpy(np.array([[file]], object))
        at = InferInput("number", [1, 1], "INT64")
        at.set_data_from_numpy(np.array([[number]]))
        flags: dict[str, Any] = {
            "sequence_id": self._identity,
            "sequence_start": not self._has_started,
            "sequence_end": is_last,
        }
        try:
            response = self._client.infer("watch", [picture, at], **flags)
        except InferenceServerException as error:
            if "picture:" not in str(error):
                raise
            return None
        self._has_started = True
        box, moving, dropped = (
            response.as_numpy(name)[0] for name in ("box", "moving", "dropped")
        )
        return Seen(tuple(box.tolist()), float(moving[0]), int(dropped[0]))
