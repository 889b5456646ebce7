"""A real nginx or HAProxy in front of a server, on a free port of loopback."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

WITHIN_S = 20.0
_NGINX = """
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
_HAPROXY = """
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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def nginx(folder, server, *, listen=""):
    """Run nginx with the directives `server`; yield HOST:PORT."""
    port = free_port()
    config = folder / "nginx.conf"
    text = _NGINX.format(folder=folder, port=port, server=server, listen=listen)
    config.write_text(text)
    argv = [_program("nginx", "nginx-light"), "-c", str(config), "-p", str(folder)]
    with _running([*argv, "-g", "daemon off;"], port, folder / "error.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def haproxy(folder, backend, *, frontend="", bind="", settings="", timeout="30s"):
    """Run HAProxy with these lines of its sections; yield HOST:PORT."""
    port = free_port()
    lines = {"frontend": frontend, "backend": backend, "bind": bind}
    lines |= {"settings": settings, "timeout": timeout}
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, **lines))
    argv = [_program("haproxy", "haproxy"), "-db", "-f", str(config)]
    # At SIGTERM it would wait for idle connections.
    with _running(argv, port, folder / "haproxy.log", stop=signal.SIGKILL):
        yield f"127.0.0.1:{port}"


def _program(name, package):
    """Return a program's path; install its package where this process may."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        words = ["-y", "-qq", "-o", "DPkg::Lock::Timeout=300", package]
        install = ["apt-get", "install", *words]
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL)
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"needs {name}, and only root can install it")
    return path


@contextmanager
def _running(argv, port, log, *, stop=signal.SIGTERM):
    """Run a proxy until its port accepts; what it prints goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield
    finally:
        process.send_signal(stop)
        process.wait(WITHIN_S)


def _wait_for(port, process, log):
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
