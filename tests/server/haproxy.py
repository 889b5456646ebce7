"""A real HAProxy in front of a server, on a free port of loopback."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
from nginx import free_port

WITHIN_S = 20.0
CONFIG = """
global
  {settings}
defaults
  mode http
  timeout connect 2s
  timeout client {timeout}
  timeout server {timeout}
  timeout queue 200ms
  retries 0
frontend front
  bind 127.0.0.1:{port} {bind}
  {frontend}
  default_backend back
backend back
  {backend}
"""


def binary():
    """Return HAProxy's path; install the package where this process may."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-qq", "haproxy"]
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL)
        path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if path is None:
        pytest.skip("needs HAProxy, and only root can install it")
    return path


@contextmanager
def haproxy(folder, backend, *, frontend="", bind="", settings="", timeout="30s"):
    """Run HAProxy with these lines of its sections; yield HOST:PORT."""
    port = free_port()
    lines = {"frontend": frontend, "backend": backend, "bind": bind}
    lines |= {"settings": settings, "timeout": timeout}
    config, log = folder / "haproxy.cfg", folder / "haproxy.log"
    config.write_text(CONFIG.format(port=port, **lines))
    with log.open("wb") as output:
        argv = [binary(), "-db", "-f", str(config)]
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()  # it would wait for idle connections
        process.wait(WITHIN_S)


def _wait_for(port, process, log):
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
