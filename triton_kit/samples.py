"""Sample tensors from a user's .npz, read without running anything in it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz by name; nothing in it is ever unpickled.

    Raises:
        SpecError: it is missing, no .npz, cut short, or has Python objects in it.
    """
    try:
        with path.open("rb") as file:
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
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SpecError(
            f"{path}: not an .npz of plain arrays: {error}",
            hint="numpy.savez(path, input_name=array); strings as dtype S or U",
        ) from error
