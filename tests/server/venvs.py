"""Virtual environments of programs that must not share packages with the kit."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

CACHE = Path(__file__).parents[2] / ".cache" / "venvs"


def python_with(name, *packages):
    """Return the Python of a venv with these packages, made once under .cache/.

    uv needs two seconds of CPU where pip needs fifty. Skips where the packages cannot
    be had.
    """
    folder = CACHE / name
    python, stamp = folder / "bin" / "python", folder / "packages"
    wanted = " ".join([sys.version.split()[0], *packages])
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet"]
        made = subprocess.run(
            [*uv, "--python", str(python), *packages],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"{name} cannot be installed: {made.stderr[-300:]}")
        stamp.write_text(wanted)
    return python
