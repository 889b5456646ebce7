"""A private tritonserver for the load tests, on free loopback ports."""

import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytriton

from triton_kit.process import started, tail

_WHEEL = Path(pytriton.__file__).parent / "tritonserver"
_READY_WITHIN_S = 90.0


@dataclass(frozen=True)
class Triton:
    """Where the server listens, and its process."""

    http: str
    grpc: str
    metrics: str
    pid: int


def free_ports(count):
    """Return ports that nobody listened on a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def triton_running(repository, work, *flags):
    """Start the wheel's tritonserver on `repository` and yield it once it is ready."""
    backends = work / "backends"
    shutil.copytree(_WHEEL / "backends" / "python", backends / "python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy2(
        _WHEEL / "python_backend_stubs" / version / "triton_python_backend_stub",
        backends / "python",
    )
    http, grpc, metrics = free_ports(3)
    argv = [
        str(_WHEEL / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        f"--backend-config=python,shm-region-prefix-name=perf_{os.getpid()}_{http}",
        *flags,
    ]
    libraries = Path(pytriton.__file__).parent.parent / "nvidia_pytriton.libs"
    env = os.environ | {
        "LD_LIBRARY_PATH": str(libraries),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    log = work / "triton.log"
    with started(argv, log=log, stop_within_s=20, env=env) as process:
        _wait_until_ready(process, http, log)
        yield Triton(
            http=f"127.0.0.1:{http}",
            grpc=f"127.0.0.1:{grpc}",
            metrics=f"127.0.0.1:{metrics}",
            pid=process.pid,
        )


def _wait_until_ready(process, port, log):
    deadline = time.monotonic() + _READY_WITHIN_S
    url = f"http://127.0.0.1:{port}/v2/health/ready"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"tritonserver ended early\n{tail(log)}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"tritonserver not ready\n{tail(log)}")
