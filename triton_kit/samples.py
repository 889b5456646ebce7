"""Sample tensors from a user's .npz, read without running anything in it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError
from triton_kit.files import open_regular

# What NumPy and zipfile raise for a file that is cut short, changed or no archive.
_MALFORMED = (
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz by name; no Python object in it is unpickled.

    Raises:
        SpecError: it is missing, not an .npz, cut short, too large for the memory, or
            it holds Python objects.
    """
    try:
        with open_regular(path) as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise SpecError(
                    f"{path}: a single array, expected an .npz of named ones",
                    hint="numpy.savez(path, input_name=array)",
                )
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: cannot read it: {reason}") from error
    except MemoryError as error:
        raise SpecError(f"{path}: too large for the memory: {error}") from error
    except _MALFORMED as error:
        raise SpecError(
            f"{path}: not an .npz of plain arrays: {error}",
            hint="numpy.savez(path, input_name=array); strings as dtype S or U",
        ) from error
