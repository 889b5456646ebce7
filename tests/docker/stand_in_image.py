"""Make a local image that stands in for NVIDIA's of 24.10: the same server, no GPU.

Its files are those of the installed wheel and of the kit. Usage: stand_in_image.py BASE
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from triton_kit.serving.backend_directory import compose_backend_directory
from triton_kit.serving.tritonserver import find_tritonserver
from triton_kit.triton.releases import find_release

DOCKERFILE = Path(__file__).parent / "stand_in.Dockerfile"
IMAGE = find_release("24.10").image
LABEL = "triton-kit.content"
PYTHON = "3.11"  # of the base image
PACKAGES = [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "pillow")]


def image_label(name):
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", form, name],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def fill(context, server, backends):
    """Write the files of the image as its Dockerfile copies them."""
    root = context / "tritonserver"
    shutil.copytree(server.binary.parent, root / "bin")
    shutil.copytree(server.libraries, root / "lib")
    shutil.copytree(server.caches, root / "caches")
    shutil.copytree(backends, root / "backends")
    argv = ["uv", "pip", "install", "--quiet", "--python-version", PYTHON]
    target = ["--python", sys.executable, "--target", str(context / "packages")]
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs}
    subprocess.run([*argv, *target, *PACKAGES], check=True, env=environment)
    shutil.copy(DOCKERFILE, context / "Dockerfile")


def main():
    base = sys.argv[1]
    found = find_tritonserver()
    stub = found.stub.parents[1] / PYTHON / found.stub.name
    server = replace(found, stub=stub)
    with tempfile.TemporaryDirectory() as folder:
        backends = compose_backend_directory(server, cache=Path(folder) / "cache")
        words = [base, backends.name, server.wheel_version, *PACKAGES]
        words += [path.read_text() for path in (Path(__file__), DOCKERFILE)]
        content = hashlib.sha256("\0".join(words).encode()).hexdigest()
        if image_label(IMAGE) == content:
            return
        sys.stderr.write(f"Building the stand-in for {IMAGE} ...\n")
        context = Path(folder) / "context"
        fill(context, server, backends)
        argv = ["docker", "build", "--quiet", "--build-arg", f"BASE={base}"]
        argv += ["--label", f"{LABEL}={content}", "--tag", IMAGE, str(context)]
        subprocess.run(argv, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
