"""Object stores on this machine: real servers on free ports."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from functools import cache

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE12",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-output-may-show",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class _Silent(WSGIRequestHandler):
    def log(self, *_):
        """Keep the requests out of the output of the tests."""


@contextmanager
def s3_server():
    """Yield the URL of an S3 server; it does one request at a time, as S3 seems to."""
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@cache
def s3_client(url):
    """Return a client that has nothing of ours in it."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )


class CuttingProxy:
    """Forwards to a server; cuts every connection after so many bytes were sent."""

    def __init__(self, url, *, after_bytes):
        host, port = url.removeprefix("http://").split(":")
        self._target, self._left = (host, int(port)), after_bytes
        self._lock, self._open = threading.Lock(), []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._cut()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self._open += [client, server]
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._forward, args=pair, daemon=True
                    ).start()

    def _forward(self, source, target, counts):
        with suppress(OSError):
            while data := source.recv(1000):
                if counts:
                    with self._lock:
                        data, self._left = data[: self._left], self._left - len(data)
                target.sendall(data)
                if counts and self._left <= 0:
                    self._cut()
            target.shutdown(socket.SHUT_WR)

    def _cut(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._open.clear()
