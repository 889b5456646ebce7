"""`triton-kit ui` as a real process, and a client that sends what a test says."""

import http.client
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

# A busy machine is slow, not broken.
WITHIN_S = 120


@dataclass(frozen=True)
class Page:
    status: int
    headers: dict
    text: str


@dataclass(frozen=True)
class Pages:
    """The pages of one process; `url` is what it printed."""

    url: str
    process: subprocess.Popen

    @property
    def base(self):
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def port(self):
        return urlsplit(self.url).port

    @property
    def token(self):
        return parse_qs(urlsplit(self.url).query)["token"][0]

    @property
    def cookie(self):
        return f"triton-kit-ui-{self.port}={self.token}"

    def ask(self, path, method="GET", *, body=None, **headers):
        """Send a request with the cookie; a header of None is left out."""
        sent = {"Cookie": self.cookie, "Host": f"127.0.0.1:{self.port}"} | headers
        connection = http.client.HTTPConnection("127.0.0.1", self.port, WITHIN_S)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            text = response.read().decode()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Page(response.status, names, text)
        finally:
            connection.close()

    def post(self, path, fields, **headers):
        """Send a form as a browser does."""
        edge = "edge-of-a-part"
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'
            for name, value in fields.items()
        ]
        body = "\r\n".join([*parts, f"--{edge}--", ""]).encode()
        return self.ask(
            path,
            "POST",
            body=body,
            **{
                "Content-Type": f"multipart/form-data; boundary={edge}",
                "Origin": self.base,
                **headers,
            },
        )


@contextmanager
def show(*words):
    """Start `triton-kit ui WORDS`, and stop it by Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "triton_kit", "ui", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Pages(process.stdout.readline().strip(), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(WITHIN_S)
        finally:
            process.kill()
            process.stdout.close()
