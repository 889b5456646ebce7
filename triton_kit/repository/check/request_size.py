"""The configs of a repository into the largest HTTP request that its models take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from triton_kit.files import read_text
from triton_kit.repository.check.examine import examine
from triton_kit.repository.check.rules.case import Case, model_file
from triton_kit.repository.check.target import Target
from triton_kit.triton.schema import DATA_TYPES, Message

# Of a request itself: names, parameters, headers of tensors.
_ROOM = 1 << 20
# Longest number of a type in JSON. Clients write floats with 17 digits, as doubles.
_DIGITS = {
    **{"BOOL": 5, "UINT8": 3, "INT8": 4, "UINT16": 5, "INT16": 6},
    **{"UINT32": 10, "INT32": 11, "UINT64": 20, "INT64": 20},
}
_FLOAT_DIGITS = 24
_UNSIZED = ("STRING", "INVALID")
# Space between the values is the client's choice.
_SPACE_FACTOR = 2


def largest_request_bytes(
    roots: Iterable[Path], models: Iterable[str], target: Target
) -> int | None:
    """Return the size of the largest request, as JSON at the largest batch.

    Args:
        roots: the repositories.
        models: those that the server loads.
        target: the server, which completes their configs.

    Returns:
        Bytes; None where a model takes requests of any size, or its config is not
        known before it runs.
    """
    sizes = []
    places = [root / name for name in models for root in roots]
    for place in filter(Path.is_dir, places):
        examined = examine(place, target)
        if examined.case is None or not examined.knows_tensors:
            return None
        if _completes_itself(examined.case):
            return None
        sizes.append(_request_bytes(examined.case.config))
    known = [size for size in sizes if size is not None]
    return max(known) if known and len(known) == len(sizes) else None


def _request_bytes(config: Message) -> int | None:
    """Return the size of a model's largest request; None if that varies."""
    total = 0
    for tensor in config.input:
        kind = DATA_TYPES.Name(tensor.data_type).removeprefix("TYPE_")
        if kind in _UNSIZED or any(size < 0 for size in tensor.dims):
            return None
        values = math.prod(tensor.dims) * max(1, config.max_batch_size)
        digits = _DIGITS.get(kind, _FLOAT_DIGITS)
        # A comma with a space, and brackets of each axis, the batch included.
        brackets = 2 + 2 * (len(tensor.dims) + 1)
        total += values * (digits + brackets)
    return _ROOM + _SPACE_FACTOR * total if config.input else None


def _completes_itself(case: Case) -> bool:
    """Whether a Python model may change its config when it loads."""
    if case.config.backend != "python" or case.target.strict:
        return False
    paths = (model_file(case, version) for version in case.versions)
    return any("auto_complete_config" in read_text(p) for p in paths if p.is_file())
