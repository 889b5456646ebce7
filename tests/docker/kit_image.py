"""Make the kit's own image without a registry: another base, and wheels from the index.

Usage: kit_image.py BASE
"""

import configparser
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = "triton-kit:test"
# Stands in for python:3.11-slim: Debian's Python, with pip.
PYTHON_BASE = "debian-python-local:3.11"
PYTHON = "3.11"
WHEELS = ROOT / "docker" / "wheels"


def docker_build(*words):
    subprocess.run(["docker", "build", "--quiet", *words], check=True, stdout=2)


def make_python_base(base):
    """Add pip to the base image, as the images of Python have it."""
    found = subprocess.run(
        ["docker", "image", "inspect", PYTHON_BASE], capture_output=True, check=False
    )
    if found.returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        argv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "pip"]
        subprocess.run([*argv, "--target", str(context / "pip")], check=True)
        dockerfile = f"FROM {base}\nCOPY pip /usr/lib/python3/dist-packages\n"
        (context / "Dockerfile").write_text(dockerfile)
        docker_build("--tag", PYTHON_BASE, folder)


def fetch_wheels():
    """Download what the kit needs, once for each state of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    needed = [*parser["options"]["install_requires"].split("\n"), "setuptools>=77"]
    needed = [line for line in needed if line.strip()]
    digest = hashlib.sha256("\n".join([PYTHON, *needed]).encode()).hexdigest()
    stamp = WHEELS / ".requirements"
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(WHEELS, ignore_errors=True)
    # uv resolves in a second, and cannot download; pip can.
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "-"]
    pinned = subprocess.run(
        [*uv, "--python-version", PYTHON, "--no-annotate", "--no-header"],
        input="\n".join(needed),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir"]
    argv += ["--no-deps", "--only-binary", ":all:", "--python-version", PYTHON]
    argv += ["-d", str(WHEELS), *pinned.stdout.split("\n")]
    subprocess.run([word for word in argv if word], check=True, stdout=2)
    stamp.write_text(digest)


def main():
    sys.stderr.write(f"Making the image {IMAGE} ...\n")
    make_python_base(sys.argv[1])
    fetch_wheels()
    arguments = {
        "BASE": PYTHON_BASE,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "docker/wheels",
        "PIP_NO_COMPILE": "1",  # most of the time
    }
    words = [w for pair in arguments.items() for w in ("--build-arg", "=".join(pair))]
    dockerfile = str(ROOT / "docker" / "Dockerfile")
    docker_build("--file", dockerfile, "--tag", IMAGE, *words, str(ROOT))


if __name__ == "__main__":
    main()
