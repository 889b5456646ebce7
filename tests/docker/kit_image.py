"""Make the kit's own image without a registry: another base, and wheels from the index.

Usage: kit_image.py BASE
"""

import configparser
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

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


def wheel_urls(requirements):
    """Resolve them to the wheels for the base image's Python.

    uv does it in a second, and cannot download; pip would need half a minute of CPU.
    """
    argv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "-"]
    argv += ["--python-version", PYTHON, "--format", "pylock.toml"]
    lock = subprocess.run(
        argv,
        input="\n".join(requirements),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    python = tuple(map(int, PYTHON.split(".")))
    tags = [*cpython_tags(python), *compatible_tags(python)]
    ranks = {tag: rank for rank, tag in enumerate(tags)}
    for package in tomllib.loads(lock.stdout)["packages"]:
        urls = [wheel["url"] for wheel in package["wheels"]]
        yield min(urls, key=lambda url: rank_of(url, ranks))


def rank_of(url, ranks):
    tags = parse_wheel_filename(url.rpartition("/")[2])[3]
    return min(ranks.get(tag, len(ranks)) for tag in tags)


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
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir"]
    argv += ["--no-deps", "--dest", str(WHEELS), *wheel_urls(needed)]
    subprocess.run(argv, check=True, stdout=2)
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
