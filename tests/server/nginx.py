"""A real nginx in front of a server, on a free port of loopback."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

WITHIN_S = 20.0
CONFIG = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  log_format connection '$connection $uri';
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} {listen};
    {server}
  }}
}}
"""


def binary():
    """Return nginx's path; install the package where this process may."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-qq", "nginx-light"]
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL)
        path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None:
        pytest.skip("needs nginx, and only root can install it")
    return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def nginx(folder, server, *, listen=""):
    """Run nginx with the directives `server`; yield HOST:PORT."""
    port = free_port()
    config = folder / "nginx.conf"
    text = CONFIG.format(folder=folder, port=port, server=server, listen=listen)
    config.write_text(text)
    argv = [binary(), "-c", str(config), "-p", str(folder), "-g", "daemon off;"]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process, folder)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def _wait_for(port, process, folder):
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError((folder / "error.log").read_text())
